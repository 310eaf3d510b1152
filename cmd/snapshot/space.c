/* SPDX-License-Identifier: MIT */
/*
 * qcow2 snapshot space: what the active image, each snapshot and each bitmap take, and what deleting
 * them would free.
 */
#include "snapshot/space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap_state.h"
#include "common/freed.h"
#include "common/limits.h"
#include "common/report.h"
#include "common/soundness.h"

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* ---- the names of bitmaps ---- */

static bool add_bitmap(struct space *space, const struct qcow2_bitmap *bitmap)
{
	struct space_bitmap *bitmaps = space->bitmaps;
	uint8_t *name;

	if (space->bitmap_count == space->bitmap_capacity) {
		space->bitmap_capacity =
			space->bitmap_capacity > 0 ? 2 * space->bitmap_capacity : 8;
		bitmaps = realloc(bitmaps, space->bitmap_capacity * sizeof(*bitmaps));
		if (!bitmaps)
			return false;
		space->bitmaps = bitmaps;
	}
	name = malloc(bitmap->name.size + 1);
	if (!name)
		return false;
	if (bitmap->name.size > 0)
		memcpy(name, bitmap->name.data, bitmap->name.size);
	bitmaps[space->bitmap_count++] = (struct space_bitmap){
		.index = bitmap->index,
		.name_data = name,
		.name = {name, bitmap->name.size},
		.entry_bytes = table_bytes_stored(space->run->image, bitmap->offset_bytes,
						  bitmap->size_bytes),
	};
	space->directory_bytes += bitmaps[space->bitmap_count - 1].entry_bytes;
	return true;
}

/* Bitmaps that the header does not vouch for have no say in what a cluster is for. */
static int read_bitmaps(struct space *space, struct qcow2_error *err)
{
	const struct qcow2_image *image = space->run->image;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	int more = 0;

	if (!(qcow2_image_header(image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (qcow2_bitmaps_open(image, &bitmaps, err))
		return err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while (!bitmap_past_stored(bitmaps, space->run->source) &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0)
		if (!add_bitmap(space, bitmap)) {
			more = fail_memory(err);
			break;
		}
	qcow2_bitmaps_close(bitmaps);
	return more < 0 ? -1 : 0;
}

/* ---- their bytes ---- */

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct snapshot_run *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

static void take_user(struct space *space, uint64_t number, const struct qcow2_usage_user *user)
{
	const struct snapshot_table *table = &space->run->table;
	struct space_row row = {true, number, user->referenced_bytes, user->exclusive_bytes,
				user->vm_state_bytes};
	uint64_t freed;

	if (user->part_of == QCOW2_PART_OF_IMAGE) {
		space->active = row;
	} else if (user->part_of == QCOW2_PART_OF_SNAPSHOT && user->index < table->count) {
		freed = freed_with_table(table, &user->index, 1, row.exclusive_bytes);
		row.referenced_bytes +=
			freed > row.exclusive_bytes ? freed - row.exclusive_bytes : 0;
		row.exclusive_bytes = freed;
		space->snapshots[user->index] = row;
	} else if (user->part_of == QCOW2_PART_OF_BITMAP && user->index < space->bitmap_count) {
		freed = freed_of_directory(space->run->image, space->directory_bytes,
					   space->bitmaps[user->index].entry_bytes);
		row.referenced_bytes += freed;
		row.exclusive_bytes += freed;
		space->bitmaps[user->index].row = row;
	}
}

static int count_users(struct space *space, struct qcow2_error *err)
{
	const struct qcow2_usage_options options = {
		.size = sizeof(options),
		.threads = space->run->threads,
		.memory_limit_bytes = limits_memory(space->run->command),
		.users = true,
		.progress = hear_progress,
		.opaque = space->run,
	};
	uint64_t count;

	if (qcow2_usage_open(space->run->image, &options, &space->usage, err))
		return -1;
	count = qcow2_usage_user_count(space->usage);
	for (uint64_t number = 0; number < count; number++)
		take_user(space, number, qcow2_usage_user_at(space->usage, number));
	space->conflict_bytes = qcow2_usage_total_of(space->usage, QCOW2_USAGE_CONFLICT)->bytes;
	return 0;
}

/* ---- several together ---- */

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* Finds the snapshots that are named, before anything is counted. */
static int choose(struct space *space, struct qcow2_error *err)
{
	const struct snapshot_run *run = space->run;
	size_t count = 0;

	for (size_t i = 0; i < run->name_count; i++) {
		if (snapshot_find(run, run->names[i], &space->chosen[i], err))
			return -1;
		if (space->chosen[i] < run->table.count)
			continue;
		*err = (struct qcow2_error){.code = QCOW2_ERROR_LIMIT,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "the snapshot is behind those that QEMU "
						    "accepts"};
		return -1;
	}
	qsort(space->chosen, run->name_count, sizeof(*space->chosen), compare);
	for (size_t i = 0; i < run->name_count; i++)
		if (i == 0 || space->chosen[i] != space->chosen[i - 1])
			space->chosen[count++] = space->chosen[i];
	space->chosen_count = count;
	return 0;
}

static int examine(struct space *space, struct qcow2_error *err)
{
	uint64_t users;

	space->snapshots = calloc(space->run->table.count + 1, sizeof(*space->snapshots));
	space->chosen = calloc(space->run->name_count + 1, sizeof(*space->chosen));
	if (!space->snapshots || !space->chosen)
		return fail_memory(err);
	if (choose(space, err) || read_bitmaps(space, err) || count_users(space, err) ||
	    freed_all_snapshots(space->usage, &space->run->table, &users, &space->all_freed_bytes,
				err))
		return -1;
	return freed_snapshots(space->usage, &space->run->table, space->chosen, space->chosen_count,
			       &space->chosen_freed_bytes, err);
}

static void release(struct space *space)
{
	qcow2_usage_close(space->usage);
	for (uint64_t i = 0; i < space->bitmap_count; i++)
		free(space->bitmaps[i].name_data);
	free(space->bitmaps);
	free(space->snapshots);
	free(space->chosen);
}

int snapshot_space(struct snapshot_run *run)
{
	struct space space = {.run = run};
	struct soundness soundness = {.threads = run->threads,
				      .memory_limit_bytes = limits_memory(run->command)};
	struct qcow2_error err;
	int code;

	/* Wrong refcounts, or tables that cannot be read, make the numbers wrong. */
	if (soundness_find(run->image, &run->progress, &soundness, &err) || examine(&space, &err)) {
		code = snapshot_fail(run, &err);
	} else {
		progress_end(&run->progress);
		if (run->format == SNAPSHOT_HUMAN)
			space_text(&space);
		else
			space_json(&space);
		code = soundness_tell(run->command, run->file, &soundness);
		if (code == EXIT_FINE)
			code = snapshot_verdict(run);
	}
	release(&space);
	return code;
}
