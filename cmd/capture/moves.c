/* SPDX-License-Identifier: MIT */
/*
 * See moves.h. What reads as the backing file or is invalid was not written; neither is data lost
 * that the disk has at another place as well, where the capture has it, too: then the entry in
 * question is damage, which made a second one of another.
 */
#include "capture/moves.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/report.h"

#include <qcow2/geometry.h>
#include <qcow2/mapping.h>
#include <qcow2/mapping_diff.h>

/* The most places that are shown. */
#define PLACES_MOST 10

struct search {
	const struct capture_run *run;
	const struct qcow2_image *image;
	const struct capture_ranges *metadata;
	struct capture_moves *moves;
	struct qcow2_mapping *now, *then, *all;
	struct qcow2_mapping_diff *diff;
	struct capture_ranges same; /* host bytes of data that is where it was */
	unsigned shown;
	struct qcow2_error *err;
};

/* ---- data that is where it was ---- */

static void add_same(struct search *search, const struct qcow2_mapping_extent *extent,
		     uint64_t start, uint64_t end)
{
	const uint64_t host = extent->host.byte + (start - extent->start.byte);

	if (extent->kind == QCOW2_L2_DATA && end > start)
		capture_ranges_add(&search->same, host, end - start, UINT64_MAX);
}

/* Adds what of an extent does not differ. *difference: the first that ends behind its start. */
static int add_extent(struct search *search, const struct qcow2_mapping_extent *extent,
		      const struct qcow2_mapping_difference **difference)
{
	const uint64_t end = extent->start.byte + extent->length_bytes;
	uint64_t at = extent->start.byte;

	while (*difference && (*difference)->start.byte < end) {
		const uint64_t start = (*difference)->start.byte;
		const uint64_t stop = start + (*difference)->length_bytes;

		if (start > at)
			add_same(search, extent, at, start);
		at = stop;
		if (stop > end)
			return 0;
		switch (qcow2_mapping_diff_next(search->diff, difference, search->err)) {
		case 1:
			break;
		case 0:
			*difference = NULL;
			break;
		default:
			return -1;
		}
	}
	add_same(search, extent, at, end);
	return 0;
}

static int find_same(struct search *search)
{
	const struct qcow2_mapping_difference *difference = NULL;
	const struct qcow2_mapping_extent *extent;
	int more = qcow2_mapping_diff_next(search->diff, &difference, search->err);

	if (more < 0)
		return -1;
	if (more == 0)
		difference = NULL;
	while ((more = qcow2_mapping_next(search->all, &extent, search->err)) > 0)
		if (add_extent(search, extent, &difference))
			return -1;
	capture_ranges_settle(&search->same);
	if (more == 0 && search->same.failed)
		return capture_fail(search->err, QCOW2_ERROR_MEMORY, "out of memory");
	return more;
}

/* ---- differences ---- */

static bool is_zero(const struct qcow2_mapping_side *side)
{
	return side && (side->kind == QCOW2_L2_ZERO || side->kind == QCOW2_L2_ZERO_ALLOCATED);
}

/* Whether a side is of data that a damaged entry does not explain. */
static bool is_data(const struct search *search, const struct qcow2_mapping_side *side)
{
	const uint64_t at = side->host.byte, size = search->run->facts.size_bytes;
	uint64_t end = at + side->host_bytes;
	const bool here = !qcow2_image_geometry(search->image)->data_file;

	if (side->kind != QCOW2_L2_DATA && side->kind != QCOW2_L2_COMPRESSED)
		return false;
	if (here && capture_ranges_touch(search->metadata, at, end))
		return false;
	/* The capture's end may cut its last cluster; data behind it losses.c names already. */
	if (here && at < size && end > size)
		end = size;
	if (here && !capture_ranges_cover(&search->run->content.data, at, end))
		return false;
	return side->kind == QCOW2_L2_COMPRESSED || !capture_ranges_cover(&search->same, at, end);
}

static void show(struct search *search, const struct qcow2_mapping_difference *difference,
		 const char *what)
{
	char text[160];

	if (search->shown++ >= PLACES_MOST)
		return;
	snprintf(text, sizeof(text), "the disk at 0x%" PRIx64 ", %" PRIu64 " bytes, %s",
		 difference->start.byte, difference->length_bytes, what);
	report_text(search->run->command, search->run->file, text);
}

static void hear(struct search *search, const struct qcow2_mapping_difference *difference)
{
	const struct qcow2_mapping_side *now = difference->sides[0], *then = difference->sides[1];

	if (!now || difference->reads_same)
		return;
	if (is_zero(now) && !is_zero(then)) {
		search->moves->zero_bytes += difference->length_bytes;
		show(search, difference, "is zeros now");
	} else if (is_data(search, now)) {
		search->moves->data_bytes += difference->length_bytes;
		show(search, difference, "is where the capture has other data");
	}
}

static int compare(struct search *search)
{
	const struct qcow2_mapping_difference *difference;
	int more = find_same(search);

	if (more)
		return -1;
	qcow2_mapping_diff_seek(search->diff, (struct qcow2_guest){0}, UINT64_MAX);
	while ((more = qcow2_mapping_diff_next(search->diff, &difference, search->err)) > 0)
		hear(search, difference);
	return more;
}

int capture_find_moves(const struct capture_run *run, const struct qcow2_image *image,
		       const struct capture_ranges *metadata, struct capture_moves *moves,
		       struct qcow2_error *err)
{
	struct search search = {
		.run = run, .image = image, .metadata = metadata, .moves = moves, .err = err};
	int failed = qcow2_mapping_open(image, &search.now, err) ||
		     qcow2_mapping_open(run->image, &search.then, err) ||
		     qcow2_mapping_open(image, &search.all, err) ||
		     qcow2_mapping_diff_open(search.now, search.then, NULL, &search.diff, err);

	if (!failed)
		failed = compare(&search);
	qcow2_mapping_diff_close(search.diff);
	qcow2_mapping_close(search.all);
	qcow2_mapping_close(search.then);
	qcow2_mapping_close(search.now);
	capture_ranges_release(&search.same);
	return failed ? -1 : 0;
}
