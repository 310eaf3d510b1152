/* SPDX-License-Identifier: MIT */
/* See ranges.h. */
#include "export/ranges.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bitmap_state.h"
#include "common/existing.h"

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

void export_ranges_whole(struct export_ranges *ranges, uint64_t size_bytes)
{
	*ranges = (struct export_ranges){.end_bytes = size_bytes, .whole = size_bytes > 0};
}

/* ---- bitmaps ---- */

/* Says why a bitmap cannot be relied on, and what helps. */
static int refuse(const struct qcow2_image *image, const struct bitmap_state *state,
		  struct qcow2_error *err)
{
	const char *why = "in use: it was not saved, and may lack writes";

	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	if (state->why)
		why = state->why->id;
	else if (strcmp(state->word, "inconsistent") == 0)
		why = "inconsistent: a program that knows no bitmaps changed the image";
	else if (qcow2_source_in_use(qcow2_image_source(image)) == QCOW2_IN_USE_YES)
		snprintf(err->text, sizeof(err->text),
			 "in use: another program has the image open, and stores the bitmap when "
			 "it is done");
	if (err->text[0] == '\0')
		snprintf(err->text, sizeof(err->text),
			 "%s; make a full export, and 'qcow2 bitmap repair --assume-dirty' for "
			 "the next ones",
			 why);
	return -1;
}

/* Looks for a bitmap with this name among all, as the health of one depends on others. */
static int judge_all(const struct bitmap_judge *judge, struct qcow2_bitmaps *bitmaps,
		     const char *name, struct qcow2_error *err)
{
	const struct qcow2_bytes wanted = bytes_of(name);
	struct bitmap_state state, found = {0};
	const struct qcow2_bitmap *bitmap;
	int more;

	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0 &&
	       !bitmap_past_stored(bitmaps, qcow2_image_source(judge->image))) {
		if (bitmap_state_find(judge, bitmap, &state, err))
			return -1;
		if (bitmap->name.size == wanted.size &&
		    memcmp(bitmap->name.data, wanted.data, wanted.size) == 0)
			found = state;
	}
	if (more < 0)
		return -1;
	if (!found.word || strcmp(found.word, "enabled") == 0 ||
	    strcmp(found.word, "disabled") == 0)
		return 0;
	return refuse(judge->image, &found, err);
}

/* Whether the bitmap can be relied on. Returns 0, or -1 with *err filled. */
static int judge(const struct qcow2_image *image, const char *name, struct qcow2_error *err)
{
	struct bitmap_judge judge = {.image = image};
	struct qcow2_bitmaps *bitmaps = NULL;
	int failed = -1;

	if (qcow2_bitmap_health_open(image, &judge.health, err) == 0 &&
	    qcow2_bitmaps_open(image, &bitmaps, err) == 0)
		failed = judge_all(&judge, bitmaps, name, err);
	qcow2_bitmaps_close(bitmaps);
	qcow2_bitmap_health_close(judge.health);
	return failed;
}

/* Sets *records if the bitmap is enabled. */
static int open_one(const struct qcow2_image *image, const char *name, bool *records,
		    struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry entry;

	if (qcow2_bitmap_find(image, bytes_of(name), &entry, err) == 0 &&
	    judge(image, name, err) == 0 &&
	    qcow2_dirty_extents_open(image, &entry, 0, out, err) == 0) {
		*records = *records || (entry.flags & QCOW2_BITMAP_AUTO) != 0;
		return 0;
	}
	qcow2_bitmap_error(err, bytes_of(name));
	existing_bitmaps(image, err);
	return -1;
}

/* ---- the bitmaps of a chain ---- */

static int fail_argument(struct qcow2_error *err, const char *text)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

/* Opens the images below the first one. */
static int open_images(struct export_ranges *ranges, const struct disk *disk,
		       struct qcow2_error *err)
{
	ranges->images = calloc(disk->file_count, sizeof(*ranges->images));
	if (!ranges->images)
		return fail_memory(err);
	for (size_t i = 1; i < disk->file_count; i++) {
		struct export_layer *layer = &ranges->images[ranges->image_count];

		if (!disk->files[i].is_image)
			continue;
		layer->path = disk->files[i].path;
		ranges->blamed = layer->path;
		if (qcow2_image_open(disk->files[i].source, &layer->image, err))
			return -1;
		ranges->image_count++;
	}
	ranges->blamed = disk->request.file;
	return 0;
}

static uint64_t disk_bytes(const struct qcow2_image *image)
{
	return qcow2_image_header(image)->size & ~UINT64_C(511);
}

/* Whether an image has a bitmap of a name: 1 or 0, or -1 with *err filled. */
static int has_bitmap(const struct qcow2_image *image, const char *name, struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry entry;

	if (qcow2_bitmap_find(image, bytes_of(name), &entry, err) == 0)
		return 1;
	return err->code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
}

/* Extents that are opened one after the other. */
struct parts {
	struct qcow2_dirty_extents **list;
	size_t count;
	bool records; /* a bitmap of the first image is enabled */
};

/*
 * Opens the bitmap of a name in the first image and in all below that have it. Images below the last
 * of these are older than the bitmap. One above it that has none did not record what was written while
 * it was the top: nobody knows what changed.
 */
static int open_name(struct export_ranges *ranges, const struct qcow2_image *top, const char *name,
		     struct parts *parts, struct qcow2_error *err)
{
	bool below_records = false; /* nothing is written there */
	size_t gaps = 0;

	if (open_one(top, name, &parts->records, &parts->list[parts->count], err))
		return -1;
	parts->count++;
	for (size_t i = 0; i < ranges->image_count; i++) {
		const struct export_layer *layer = &ranges->images[i];
		int there;

		ranges->blamed = layer->path;
		there = has_bitmap(layer->image, name, err);
		if (there == 0) {
			gaps++;
			continue;
		}
		if (there > 0 && gaps > 0)
			there = fail_argument(err,
					      "it has the bitmap, and a file above it has none: "
					      "what was written meanwhile is not known; make a "
					      "full export");
		else if (there > 0 && disk_bytes(layer->image) != disk_bytes(top))
			there = fail_argument(err, "it has the bitmap, but its disk is of another "
						   "size: bitmaps of disks of different sizes "
						   "cannot be united; make a full export");
		if (there < 0 ||
		    open_one(layer->image, name, &below_records, &parts->list[parts->count], err))
			return -1;
		parts->count++;
	}
	return 0;
}

static int open_names(struct export_ranges *ranges, const struct disk *disk,
		      const char *const *names, size_t count, struct qcow2_error *err)
{
	struct parts parts = {
		.list = calloc(count * (ranges->image_count + 1), sizeof(*parts.list))};
	int failed = 0;

	if (!parts.list)
		return fail_memory(err);
	for (size_t i = 0; i < count && !failed; i++) {
		ranges->blamed = disk->request.file;
		failed = open_name(ranges, disk->image, names[i], &parts, err);
	}
	/* The combination owns the parts, even if it fails. */
	if (!failed)
		failed = qcow2_dirty_extents_combine(QCOW2_DIRTY_EXTENTS_UNION, parts.list,
						     parts.count, &ranges->dirty, err);
	else
		while (parts.count > 0)
			qcow2_dirty_extents_close(parts.list[--parts.count]);
	free(parts.list);
	ranges->disabled = parts.records ? NULL : names[0];
	return failed;
}

int export_ranges_bitmaps(struct export_ranges *ranges, const struct disk *disk,
			  const char *const *names, size_t count, struct qcow2_error *err)
{
	int failed;

	*ranges = (struct export_ranges){.blamed = disk->request.file};
	if (disk->request.chain && disk->is_cut)
		return fail_argument(err,
				     "a file below it is missing, and with it what its bitmaps "
				     "call dirty: make a full export");
	failed = open_images(ranges, disk, err);
	if (!failed)
		failed = open_names(ranges, disk, names, count, err);
	if (!failed)
		ranges->end_bytes = qcow2_dirty_extents_size_bytes(ranges->dirty);
	return failed;
}

/* ---- the stream ---- */

static int next_dirty(struct export_ranges *ranges, struct export_range *out,
		      struct qcow2_error *err)
{
	struct qcow2_dirty_extent extent;
	int more;

	do {
		more = qcow2_dirty_extents_next(ranges->dirty, &extent, err);
	} while (more > 0 && !extent.dirty);
	if (more > 0)
		*out = (struct export_range){extent.start_bytes, extent.length_bytes};
	return more;
}

/* The next range without the tail. */
static int next_asked(struct export_ranges *ranges, struct export_range *out,
		      struct qcow2_error *err)
{
	if (ranges->dirty)
		return next_dirty(ranges, out, err);
	if (ranges->at < ranges->count) {
		*out = ranges->list[ranges->at++];
		return 1;
	}
	if (!ranges->whole)
		return 0;
	*out = (struct export_range){0, ranges->end_bytes};
	ranges->whole = false;
	return 1;
}

int export_ranges_next(struct export_ranges *ranges, struct export_range *out,
		       struct qcow2_error *err)
{
	const uint64_t tail = ranges->tail_bytes;
	int more = ranges->tail_told ? 0 : next_asked(ranges, out, err);

	if (more < 0 || !ranges->has_tail || ranges->tail_told)
		return more;
	if (more == 0 || out->start_bytes >= tail) {
		*out = (struct export_range){tail, ranges->end_bytes - tail};
		ranges->tail_told = true;
		return 1;
	}
	if (out->length_bytes > tail - out->start_bytes)
		out->length_bytes = tail - out->start_bytes;
	return 1;
}

void export_ranges_add_tail(struct export_ranges *ranges, uint64_t start_bytes)
{
	ranges->has_tail = start_bytes < ranges->end_bytes;
	ranges->tail_bytes = start_bytes;
}

void export_ranges_close(struct export_ranges *ranges)
{
	qcow2_dirty_extents_close(ranges->dirty);
	for (size_t i = 0; i < ranges->image_count; i++)
		qcow2_image_close(ranges->images[i].image);
	free(ranges->images);
	free(ranges->list);
	*ranges = (struct export_ranges){0};
}
