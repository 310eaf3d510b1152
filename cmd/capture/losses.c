/* SPDX-License-Identifier: MIT */
/*
 * See losses.h. An image that does not open any more, or whose tables are damaged, tells little; what
 * it does tell counts. An entry that leads to no cluster of the file, or to one that its metadata
 * uses as well, is damage and no data.
 */
#include "capture/losses.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/moves.h"
#include "common/limits.h"
#include "common/report.h"

#include <qcow2/claims.h>
#include <qcow2/geometry.h>

/* The most places that are shown. */
#define PLACES_MOST 10

/* What is heard of the image as it is now. */
struct hearing {
	const struct capture_run *run;
	const struct capture_ranges *now; /* its metadata */
	uint64_t cluster_size_bytes, file_size_bytes;
	uint64_t in_place, unknown; /* clusters with data */
	uint64_t cleared;           /* bytes of bitmaps with bits that would be cleared */
	struct capture_moves moves;
	unsigned shown;
};

static int fail(const struct capture_run *run, const char *format, uint64_t number)
	__attribute__((format(printf, 2, 0)));

static int fail(const struct capture_run *run, const char *format, uint64_t number)
{
	char text[256];

	snprintf(text, sizeof(text), format, number);
	return report_text(run->command, run->file, text);
}

/* Says which data it is. */
static void show(struct hearing *hearing, const struct qcow2_claim *claim, const char *what)
{
	char where[QCOW2_CLAIM_WHERE_MAX], text[QCOW2_CLAIM_WHERE_MAX + 128];

	if (hearing->shown++ >= PLACES_MOST)
		return;
	snprintf(text, sizeof(text), "data at 0x%" PRIx64 ", of %s, %s", claim->offset_bytes,
		 qcow2_claim_where(claim, where, sizeof(where)), what);
	report_text(hearing->run->command, hearing->run->file, text);
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct hearing *hearing = opaque;
	const struct capture_content *content = &hearing->run->content;
	const uint64_t at = claim->offset_bytes;
	uint64_t end = hearing->file_size_bytes;

	if (claim->part != QCOW2_CLAIM_DATA || at >= end ||
	    (claim->use != QCOW2_USE_COMPRESSED && at % hearing->cluster_size_bytes != 0))
		return 0;
	if (claim->length_bytes < end - at)
		end = at + claim->length_bytes;
	/* The last cluster of the capture may be cut, and be whole since. */
	if (at < hearing->run->facts.size_bytes && end > hearing->run->facts.size_bytes)
		end = hearing->run->facts.size_bytes;
	if (capture_ranges_cover(&content->data, at, end) ||
	    capture_ranges_touch(hearing->now, at, end))
		return 0;
	if (capture_ranges_touch(&content->metadata, at, end)) {
		hearing->in_place++;
		show(hearing, claim, "is where the capture has metadata");
	} else {
		hearing->unknown++;
		show(hearing, claim, "is not known to the capture");
	}
	return 0;
}

/* ---- bitmaps ---- */

/* A walk through the bitmaps of the image as it is. */
struct bits {
	struct hearing *hearing;
	uint8_t *now, *then; /* a cluster each */
	struct qcow2_error *err;
};

/* Counts the bytes of a bitmap's cluster that would lose a bit. */
static int hear_bits(void *opaque, const struct qcow2_claim *claim)
{
	const struct bits *bits = opaque;
	const struct capture_run *run = bits->hearing->run;
	const uint64_t at = claim->offset_bytes;
	uint64_t size = claim->length_bytes, least;

	if (claim->part != QCOW2_CLAIM_BITMAP_DATA)
		return 0;
	least = bits->hearing->file_size_bytes;
	if (least > run->facts.size_bytes)
		least = run->facts.size_bytes;
	if (at >= least)
		return 0;
	if (size > least - at)
		size = least - at;
	/* What the capture does not have there stays as it is. */
	if (!capture_ranges_touch(&run->content.metadata, at, at + size))
		return 0;
	if (qcow2_source_read(run->change.source, at, bits->now, (size_t)size, bits->err) ||
	    qcow2_source_read(run->source, at, bits->then, (size_t)size, bits->err))
		return -1;
	for (uint64_t i = 0; i < size; i++)
		bits->hearing->cleared += (bits->now[i] & ~bits->then[i]) != 0;
	return 0;
}

static int look_at_bitmaps(struct hearing *hearing, const struct qcow2_image *image,
			   struct qcow2_error *err)
{
	const struct qcow2_claims_options how = {
		.size = sizeof(how),
		.without_data = true,
	};
	struct qcow2_error reason = {.code = QCOW2_ERROR_STOPPED};
	struct bits bits = {.hearing = hearing,
			    .now = malloc((size_t)hearing->cluster_size_bytes),
			    .then = malloc((size_t)hearing->cluster_size_bytes),
			    .err = &reason};
	int failed;

	if (bits.now && bits.then)
		failed = qcow2_claims_walk(image, &how, hear_bits, &bits, err);
	else
		failed = capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	if (failed && err->code == QCOW2_ERROR_STOPPED)
		*err = reason;
	free(bits.now);
	free(bits.then);
	return failed;
}

/* ---- all ---- */

/*
 * A disk that is larger now, with an L1 table for all of it, was made so since; without such a table
 * the size is damaged.
 */
static int refuse_smaller_disk(const struct capture_run *run, const struct qcow2_image *image)
{
	const struct qcow2_header *now = qcow2_image_header(image);
	const uint64_t entries = qcow2_image_geometry(image)->l1_entries_needed;

	if (now->size <= qcow2_image_header(run->image)->size || now->l1_size < entries)
		return EXIT_FINE;
	return fail(run,
		    "the disk has %" PRIu64 " bytes, and would be smaller again, as "
		    "captured (--force applies it all the same)",
		    now->size);
}

static int refuse_sizes(const struct capture_run *run)
{
	const struct capture_ranges *data = &run->content.data;
	const uint64_t size = qcow2_source_size_bytes(run->change.source);
	const uint64_t end = data->count ? data->list[data->count - 1].end_bytes : 0;

	/* A last cluster that the end of the file cuts reads as zeros. */
	if (size >= run->facts.size_bytes || end <= size)
		return EXIT_FINE;
	return fail(run,
		    "the file is shorter than it was: guest data behind 0x%" PRIx64
		    " are lost (--force applies the capture all the same)",
		    size);
}

static int judge(const struct hearing *hearing)
{
	const struct capture_run *run = hearing->run;
	int code = EXIT_FINE;

	if (hearing->in_place > 0)
		code = fail(run,
			    "%" PRIu64 " clusters with guest data would be overwritten: they were "
			    "written since the capture (--force applies it all the same)",
			    hearing->in_place);
	if (hearing->unknown > 0)
		code = fail(run,
			    "%" PRIu64 " clusters with guest data would be lost: they were written "
			    "since the capture (--force applies it all the same)",
			    hearing->unknown);
	if (hearing->cleared > 0)
		code = fail(run,
			    "bitmaps would forget what was written since the capture, in %" PRIu64
			    " bytes of bits (--force applies it all the same)",
			    hearing->cleared);
	if (hearing->moves.data_bytes > 0)
		code = fail(run,
			    "%" PRIu64 " bytes of the disk would be lost: they were written since "
			    "the capture (--force applies it all the same)",
			    hearing->moves.data_bytes);
	if (hearing->moves.zero_bytes > 0)
		code = fail(run,
			    "%" PRIu64 " bytes of the disk were zeroed since the capture, and "
			    "would be what they were (--force applies it all the same)",
			    hearing->moves.zero_bytes);
	return code;
}

/* Hostile tables may take too long to compare. */
static void fail_look(const struct capture_run *run, struct qcow2_error *err)
{
	char reason[sizeof(err->text)];

	if (err->code == QCOW2_ERROR_LIMIT) {
		snprintf(reason, sizeof(reason), "%s", err->text);
		snprintf(err->text, sizeof(err->text),
			 "%.120s: what was written since is not known (--force applies it all the "
			 "same)",
			 reason);
	}
	change_fail(&run->change, err);
}

/* Looks at an image that opens. */
static int look(struct capture_run *run, const struct qcow2_image *image, struct qcow2_error *err)
{
	const struct capture_wanted wanted = {.memory_limit_bytes = limits_memory(run->command)};
	const struct qcow2_claims_options how = {.size = sizeof(how)};
	struct capture_content now = {.header_alone = NULL};
	struct hearing hearing = {.run = run, .now = &now.metadata};
	int code = EXIT_COULD_NOT;

	if (capture_gather(image, &wanted, &now, err))
		return change_fail(&run->change, err);
	if (now.header_alone) {
		capture_content_release(&now);
		return EXIT_FINE;
	}
	hearing.cluster_size_bytes = qcow2_image_geometry(image)->cluster_size_bytes;
	hearing.file_size_bytes = qcow2_source_size_bytes(run->change.source);
	if (qcow2_claims_walk(image, &how, hear_claim, &hearing, err) ||
	    look_at_bitmaps(&hearing, image, err) ||
	    capture_find_moves(run, image, &now.metadata, &hearing.moves, err))
		fail_look(run, err);
	else
		code = judge(&hearing);
	capture_content_release(&now);
	return code;
}

int capture_refuse_losses(struct capture_run *run)
{
	struct qcow2_image *image;
	struct qcow2_error err;
	int code;

	if (run->force)
		return EXIT_FINE;
	code = refuse_sizes(run);
	if (code != EXIT_FINE)
		return code;
	if (qcow2_image_open(run->change.source, &image, &err))
		return err.code == QCOW2_ERROR_IO || err.code == QCOW2_ERROR_MEMORY
			       ? change_fail(&run->change, &err)
			       : EXIT_FINE;
	code = look(run, image, &err);
	if (code == EXIT_FINE && qcow2_image_geometry(image))
		code = refuse_smaller_disk(run, image);
	qcow2_image_close(image);
	return code;
}
