/* SPDX-License-Identifier: MIT */
/* See names.h. What memory or the image refuses has no name. */
#include "locate/names.h"

#include <stdlib.h>
#include <string.h>

#include <qcow2/bitmap_directory.h>
#include <qcow2/snapshot.h>

/* Adds a name behind the last one. False if it cannot be kept. */
static bool add(struct names *names, struct qcow2_bytes text)
{
	size_t size = text.size < NAME_BYTES_MOST ? text.size : NAME_BYTES_MOST;
	uint8_t *copy;

	if (names->count == names->capacity) {
		size_t more = names->capacity ? names->capacity * 2 : 16;
		void *grown = realloc(names->texts, more * sizeof(*names->texts));

		if (!grown)
			return false;
		names->texts = grown;
		names->capacity = more;
	}
	copy = malloc(size + 1);
	if (!copy)
		return false;
	if (size > 0)
		memcpy(copy, text.data, size);
	names->texts[names->count++] = (struct qcow2_bytes){copy, size};
	return true;
}

static void read_snapshots(struct all_names *names, const struct qcow2_image *image)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_error ignored;

	names->has_snapshots = true;
	if (qcow2_snapshots_open(image, &snapshots, &ignored))
		return;
	while (names->snapshots.count < NAMES_MOST &&
	       qcow2_snapshots_next(snapshots, &snapshot, &ignored) > 0 &&
	       add(&names->ids, snapshot->id) && add(&names->snapshots, snapshot->name))
		;
	qcow2_snapshots_close(snapshots);
}

static void read_bitmaps(struct all_names *names, const struct qcow2_image *image)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error ignored;

	names->has_bitmaps = true;
	if (qcow2_bitmaps_open(image, &bitmaps, &ignored))
		return;
	while (names->bitmaps.count < NAMES_MOST &&
	       qcow2_bitmaps_next(bitmaps, &bitmap, &ignored) > 0 &&
	       add(&names->bitmaps, bitmap->name))
		;
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
