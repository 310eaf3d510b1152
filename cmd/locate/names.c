/* SPDX-License-Identifier: MIT */
/* See names.h. What is broken has no name; what fails is kept as an error. */
#include "locate/names.h"

#include <stdlib.h>
#include <string.h>

#include <qcow2/bitmap_directory.h>
#include <qcow2/snapshot.h>

/* Keeps an error that is not about the image. */
static void fail(struct all_names *all, const struct qcow2_error *err)
{
	if (err->code == QCOW2_ERROR_NOT_FOUND || err->code == QCOW2_ERROR_BROKEN)
		return;
	all->failed = true;
	all->error = *err;
}

static bool fail_memory(struct all_names *all)
{
	fail(all, &(struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					.offset_bytes = QCOW2_NO_OFFSET,
					.text = "out of memory"});
	return false;
}

/* Adds a name behind the last one. False if it cannot be kept. */
static bool add(struct all_names *all, struct names *names, struct qcow2_bytes text)
{
	size_t size = text.size < NAME_BYTES_MOST ? text.size : NAME_BYTES_MOST;
	uint8_t *copy;

	if (names->count == names->capacity) {
		size_t more = names->capacity ? names->capacity * 2 : 16;
		void *grown = realloc(names->texts, more * sizeof(*names->texts));

		if (!grown)
			return fail_memory(all);
		names->texts = grown;
		names->capacity = more;
	}
	copy = malloc(size + 1);
	if (!copy)
		return fail_memory(all);
	if (size > 0)
		memcpy(copy, text.data, size);
	names->texts[names->count++] = (struct qcow2_bytes){copy, size};
	return true;
}

static void read_snapshots(struct all_names *all, const struct qcow2_image *image)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_error err;
	int more = 0;

	all->has_snapshots = true;
	if (qcow2_snapshots_open(image, &snapshots, &err)) {
		fail(all, &err);
		return;
	}
	while (all->snapshots.count < NAMES_MOST &&
	       (more = qcow2_snapshots_next(snapshots, &snapshot, &err)) > 0 &&
	       add(all, &all->ids, snapshot->id) && add(all, &all->snapshots, snapshot->name))
		;
	if (more < 0)
		fail(all, &err);
	qcow2_snapshots_close(snapshots);
}

static void read_bitmaps(struct all_names *all, const struct qcow2_image *image)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error err;
	int more = 0;

	all->has_bitmaps = true;
	if (qcow2_bitmaps_open(image, &bitmaps, &err)) {
		fail(all, &err);
		return;
	}
	while (all->bitmaps.count < NAMES_MOST &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, &err)) > 0 &&
	       add(all, &all->bitmaps, bitmap->name))
		;
	if (more < 0)
		fail(all, &err);
	qcow2_bitmaps_close(bitmaps);
}

static struct qcow2_bytes get(const struct names *names, uint64_t index)
{
	return index < names->count ? names->texts[index] : (struct qcow2_bytes){NULL, 0};
}

struct qcow2_bytes names_bitmap(struct all_names *names, const struct qcow2_image *image,
				uint64_t index)
{
	if (!names->has_bitmaps)
		read_bitmaps(names, image);
	return get(&names->bitmaps, index);
}

struct qcow2_bytes names_snapshot(struct all_names *names, const struct qcow2_image *image,
				  uint64_t index)
{
	if (!names->has_snapshots)
		read_snapshots(names, image);
	return get(&names->snapshots, index);
}

struct qcow2_bytes names_snapshot_id(struct all_names *names, const struct qcow2_image *image,
				     uint64_t index)
{
	if (!names->has_snapshots)
		read_snapshots(names, image);
	return get(&names->ids, index);
}

static void release(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free((void *)names->texts[i].data);
	free(names->texts);
}

void names_release(struct all_names *names)
{
	release(&names->snapshots);
	release(&names->ids);
	release(&names->bitmaps);
	*names = (struct all_names){0};
}
