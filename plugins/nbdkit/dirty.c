/* SPDX-License-Identifier: MIT */
/* See dirty.h. */
#include "nbdkit/dirty.h"

#include <stdlib.h>
#include <string.h>

#include "nbdkit/report.h"

#include <qcow2/bitmap.h>
#include <qcow2/problem.h>

/* How far a list of bitmaps may go beyond what the file stores: it may claim billions in a hole. */
#define DIRECTORY_SLACK_BYTES (UINT64_C(1) << 20)

/* What is being looked for. */
struct search {
	const struct qcow2_image *image;
	struct qcow2_bitmap_health *health;
	struct qcow2_bytes name;
	/* The first corruption of the bitmap that is looked at. */
	const struct qcow2_problem_kind *corruption;
	struct qcow2_bitmap_dir_entry entry;
	bool found;
};

/* ---- one bitmap ---- */

static int note_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct search *search = opaque;

	if (!search->corruption && problem->kind->severity == QCOW2_CORRUPTION)
		search->corruption = problem->kind;
	return 0;
}

/* Whether a backup can rely on the bitmap. */
static int judge(struct search *search, const struct qcow2_bitmap *bitmap, struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(search->image);

	if (search->found)
		return report_fail(err, QCOW2_ERROR_BROKEN, "several bitmaps have this name");
	if (qcow2_bitmap_health_examine(search->health, bitmap, note_problem, search, err))
		return -1;
	if (!(header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) ||
	    bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		return report_fail(err, QCOW2_ERROR_BROKEN,
				   "it was not saved properly, and may miss writes");
	if (search->corruption)
		return report_fail(err, QCOW2_ERROR_BROKEN, "it cannot be relied on: %s",
				   search->corruption->text);
	search->entry = bitmap->entry;
	search->found = true;
	return 0;
}

static int search_directory(struct search *search, struct qcow2_bitmaps *bitmaps,
			    struct qcow2_error *err)
{
	const uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(search->image));
	const struct qcow2_bitmap *bitmap;
	int more;

	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0) {
		if (bitmap->name.size == search->name.size &&
		    memcmp(bitmap->name.data, search->name.data, search->name.size) == 0 &&
		    judge(search, bitmap, err))
			return -1;
		if (qcow2_bitmaps_used_bytes(bitmaps) > stored + DIRECTORY_SLACK_BYTES)
			return report_fail(err, QCOW2_ERROR_LIMIT,
					   "the directory of bitmaps is larger than the file");
	}
	return more;
}

static int find(struct search *search, struct qcow2_error *err)
{
	struct qcow2_bitmaps *bitmaps = NULL;
	int failed = qcow2_bitmaps_open(search->image, &bitmaps, err);

	if (failed && err->code != QCOW2_ERROR_NOT_FOUND)
		return -1;
	if (!failed) {
		failed = qcow2_bitmap_health_open(search->image, &search->health, err) ||
			 search_directory(search, bitmaps, err);
		qcow2_bitmap_health_close(search->health);
		qcow2_bitmaps_close(bitmaps);
		if (failed)
			return -1;
	}
	if (!search->found)
		return report_fail(err, QCOW2_ERROR_NOT_FOUND, "the image has no such bitmap");
	return 0;
}

static int open_bitmap(const struct qcow2_image *image, const char *name,
		       struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct search search = {
		.image = image,
		.name = {(const uint8_t *)name, strlen(name)},
	};

	if (find(&search, err) || qcow2_dirty_extents_open(image, &search.entry, 0, out, err)) {
		qcow2_bitmap_error(err, search.name);
		return -1;
	}
	return 0;
}

/* ---- ranges ---- */

/* Makes room for two more edges. */
static int grow(struct dirty *dirty, uint64_t most_bytes, struct qcow2_error *err)
{
	size_t room = dirty->room ? 2 * dirty->room : 512;
	uint64_t *grown;

	if (dirty->count < dirty->room)
		return 0;
	if (room > most_bytes / sizeof(*grown))
		return report_fail(
			err, QCOW2_ERROR_LIMIT,
			"bitmaps: there are more than %zu dirty ranges; a larger memory= "
			"takes more",
			dirty->count / 2);
	grown = realloc(dirty->edges, room * sizeof(*grown));
	if (!grown)
		return report_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	dirty->edges = grown;
	dirty->room = room;
	return 0;
}

static int take_ranges(struct dirty *dirty, struct qcow2_dirty_extents *extents,
		       uint64_t most_bytes, struct qcow2_error *err)
{
	struct qcow2_dirty_extent extent;
	int more;

	while ((more = qcow2_dirty_extents_next(extents, &extent, err)) > 0) {
		if (!extent.dirty)
			continue;
		if (grow(dirty, most_bytes, err))
			return -1;
		dirty->edges[dirty->count++] = extent.start_bytes;
		dirty->edges[dirty->count++] = extent.start_bytes + extent.length_bytes;
	}
	return more;
}

int dirty_read(struct dirty *dirty, const struct qcow2_image *image, char *const *names,
	       size_t count, uint64_t most_bytes, struct qcow2_error *err)
{
	struct qcow2_dirty_extents **parts = calloc(count, sizeof(struct qcow2_dirty_extents *));
	struct qcow2_dirty_extents *all = NULL;
	size_t opened = 0;
	int failed = -1;

	if (!parts)
		return report_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	while (opened < count && open_bitmap(image, names[opened], &parts[opened], err) == 0)
		opened++;
	if (opened == count) {
		/* The parts are closed with it, also if it fails. */
		opened = 0;
		failed = qcow2_dirty_extents_combine(QCOW2_DIRTY_EXTENTS_UNION, parts, count, &all,
						     err);
		if (!failed)
			failed = take_ranges(dirty, all, most_bytes, err);
		qcow2_dirty_extents_close(all);
	}
	for (size_t i = 0; i < opened; i++)
		qcow2_dirty_extents_close(parts[i]);
	free(parts);
	return failed;
}

bool dirty_at(const struct dirty *dirty, uint64_t byte, uint64_t *end)
{
	size_t low = 0, high = dirty->count;

	/* Finds how many edges are at or before the byte. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (dirty->edges[middle] <= byte)
			low = middle + 1;
		else
			high = middle;
	}
	*end = low < dirty->count ? dirty->edges[low] : UINT64_MAX;
	return low % 2 == 1;
}

void dirty_release(struct dirty *dirty)
{
	free(dirty->edges);
	*dirty = (struct dirty){0};
}
