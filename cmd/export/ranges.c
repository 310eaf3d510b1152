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
		why = "inconsistent: the image was changed by a program that knows no bitmaps";
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

static int open_one(const struct qcow2_image *image, const char *name,
		    struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry entry;

	if (qcow2_bitmap_find(image, bytes_of(name), &entry, err) == 0 &&
	    judge(image, name, err) == 0 &&
	    qcow2_dirty_extents_open(image, &entry, 0, out, err) == 0)
		return 0;
	qcow2_bitmap_error(err, bytes_of(name));
	existing_bitmaps(image, err);
	return -1;
}

int export_ranges_bitmaps(struct export_ranges *ranges, const struct qcow2_image *image,
			  const char *const *names, size_t count, struct qcow2_error *err)
{
	struct qcow2_dirty_extents **parts = calloc(count, sizeof(*parts));
	size_t opened = 0;
	int failed = -1;

	*ranges = (struct export_ranges){0};
	if (!parts)
		return fail_memory(err);
	while (opened < count && open_one(image, names[opened], &parts[opened], err) == 0)
		opened++;
	/* The combination owns the parts, even if it fails. */
	if (opened == count)
		failed = qcow2_dirty_extents_combine(QCOW2_DIRTY_EXTENTS_UNION, parts, count,
						     &ranges->dirty, err);
	else
		while (opened > 0)
			qcow2_dirty_extents_close(parts[--opened]);
	free(parts);
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
	free(ranges->list);
	*ranges = (struct export_ranges){0};
}
