/* SPDX-License-Identifier: MIT */
/* See freed.h. */
#include "common/freed.h"

#include <stdlib.h>

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* ---- snapshots ---- */

uint64_t freed_with_table(const struct snapshot_table *table, const uint64_t *gone, size_t count,
			  uint64_t bytes)
{
	uint64_t now = table_bytes(table), after = table_bytes_without(table, gone, count);

	if (now >= after)
		return bytes + (now - after);
	return bytes > after - now ? bytes - (after - now) : 0;
}

/* Finds the users that are those snapshots; gone: rising indexes, NULL: all. Returns how many. */
static size_t find_snapshots(const struct qcow2_usage *usage, const uint64_t *gone, size_t count,
			     uint64_t *users)
{
	const uint64_t all = qcow2_usage_user_count(usage);
	size_t found = 0, at = 0;

	for (uint64_t i = 0; i < all; i++) {
		const struct qcow2_usage_user *user = qcow2_usage_user_at(usage, i);

		if (user->part_of != QCOW2_PART_OF_SNAPSHOT)
			continue;
		while (at < count && gone[at] < user->index)
			at++;
		if (at < count && gone[at] == user->index)
			users[found++] = i;
	}
	return found;
}

static int free_snapshots(const struct qcow2_usage *usage, const struct snapshot_table *table,
			  const uint64_t *gone, size_t count, uint64_t *found, uint64_t *bytes,
			  struct qcow2_error *err)
{
	uint64_t *users = calloc(count + 1, sizeof(*users));
	int failed;

	*bytes = 0;
	if (!users)
		return fail_memory(err);
	*found = find_snapshots(usage, gone, count, users);
	failed = *found > 0 && qcow2_usage_freed_bytes(usage, users, (size_t)*found, bytes, err);
	free(users);
	if (count > 0)
		*bytes = freed_with_table(table, gone, count, *bytes);
	return failed ? -1 : 0;
}

int freed_snapshots(const struct qcow2_usage *usage, const struct snapshot_table *table,
		    const uint64_t *gone, size_t count, uint64_t *bytes, struct qcow2_error *err)
{
	uint64_t found;

	return free_snapshots(usage, table, gone, count, &found, bytes, err);
}

int freed_all_snapshots(const struct qcow2_usage *usage, const struct snapshot_table *table,
			uint64_t *count, uint64_t *bytes, struct qcow2_error *err)
{
	uint64_t *all = calloc(table->count + 1, sizeof(*all));
	int failed;

	if (!all)
		return fail_memory(err);
	for (uint64_t i = 0; i < table->count; i++)
		all[i] = i;
	failed = free_snapshots(usage, table, all, table->count, count, bytes, err);
	free(all);
	return failed;
}

/* ---- bitmaps ---- */

static uint64_t whole_clusters(const struct qcow2_image *image, uint64_t bytes)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t cluster = geometry ? geometry->cluster_size_bytes : 1;

	return (bytes + cluster - 1) / cluster * cluster;
}

uint64_t freed_of_directory(const struct qcow2_image *image, uint64_t directory_bytes,
			    uint64_t gone_bytes)
{
	if (gone_bytes > directory_bytes)
		return 0;
	return whole_clusters(image, directory_bytes) -
	       whole_clusters(image, directory_bytes - gone_bytes);
}

int freed_all_bitmaps(const struct qcow2_usage *usage, const struct qcow2_image *image,
		      uint64_t *count, uint64_t *bytes, struct qcow2_error *err)
{
	const uint64_t all = qcow2_usage_user_count(usage);
	uint64_t *users = calloc((size_t)all + 1, sizeof(*users));
	size_t found = 0;
	int failed;

	*bytes = 0;
	if (!users)
		return fail_memory(err);
	for (uint64_t i = 0; i < all; i++)
		if (qcow2_usage_user_at(usage, i)->part_of == QCOW2_PART_OF_BITMAP)
			users[found++] = i;
	*count = found;
	failed = found > 0 && qcow2_usage_freed_bytes(usage, users, found, bytes, err);
	free(users);
	if (found > 0)
		*bytes += whole_clusters(
			image, qcow2_usage_total_of(usage, QCOW2_USAGE_BITMAP_DIRECTORY)->bytes);
	return failed ? -1 : 0;
}
