/* SPDX-License-Identifier: MIT */
/*
 * Puts the metadata of a capture back onto an image, as a plan like any other. What the image has
 * since then and the capture does not know would be lost, so that it is looked for before: losses.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/losses.h"
#include "capture/run.h"
#include "common/change_ask.h"
#include "common/crew.h"
#include "common/limits.h"
#include "common/plan_show.h"
#include "common/report.h"

#include <qcow2/entry.h>
#include <qcow2/features.h>
#include <qcow2/geometry.h>

/* What is compared at once, and the least that is written. */
#define PIECE_BYTES  ((size_t)64 << 10)
#define SECTOR_BYTES ((size_t)512)

static int fail(const struct capture_run *run, const char *file, const struct qcow2_error *err)
{
	return report_error(run->command, file, err);
}

/* ---- the capture ---- */

/* Believes that the file is a capture only if its manifest says so of just these bytes. */
static int prove_bytes(struct capture_run *run)
{
	uint8_t digest[HASH_DIGEST_BYTES];
	struct qcow2_error err;

	if (capture_digest(run->source, digest, &err))
		return fail(run, run->apply, &err);
	if (qcow2_source_size_bytes(run->source) != run->facts.size_bytes ||
	    memcmp(digest, run->facts.digest, sizeof(digest)) != 0)
		return report_text(run->command, run->apply,
				   "it is not the capture that its manifest describes: it was "
				   "changed, or damaged on the way");
	return EXIT_FINE;
}

static int prove_capture(struct capture_run *run)
{
	const int code = prove_bytes(run);

	if (code != EXIT_FINE)
		return code;
	if (run->facts.redacted && !run->force)
		return report_text(run->command, run->apply,
				   "its names were replaced, and those of the image would be "
				   "lost (--force applies it)");
	return EXIT_FINE;
}

static int open_capture(struct capture_run *run)
{
	struct qcow2_error err;

	if (!capture_manifest_name(run, run->apply))
		return report_text(run->command, run->apply, "its name is too long");
	if (capture_manifest_read(run->manifest, &run->facts, &err))
		return fail(run, run->manifest, &err);
	if (limits_open_file(run->command->common, run->apply, &run->source, &err))
		return fail(run, run->apply, &err);
	return EXIT_FINE;
}

/* Finds its metadata, and for comparison where its guest data are. */
static int read_capture(struct capture_run *run)
{
	const struct capture_wanted wanted = {
		.data = true,
		.leaks = run->facts.leaks,
		.threads = crew_threads(),
		.memory_limit_bytes = limits_memory(run->command),
	};
	struct qcow2_error err;
	int code = prove_capture(run);

	if (code != EXIT_FINE)
		return code;
	if (qcow2_image_open(run->source, &run->image, &err) ||
	    capture_gather(run->image, &wanted, &run->content, &err))
		return fail(run, run->apply, &err);
	/* Its manifest is not believed that tables are there. */
	if ((!run->facts.whole || run->content.header_alone) && !run->force)
		return report_text(run->command, run->apply,
				   "only a header was captured: the tables that it leads to are "
				   "not there (--force applies it)");
	return EXIT_FINE;
}

/* ---- the plan ---- */

/* A range of the file that is put back. */
struct putting {
	struct capture_run *run;
	struct qcow2_plan *plan;
	uint64_t image_size_bytes;
	uint8_t *wanted, *there;
	struct qcow2_error *err;
};

/* Reads what the image has; past its end, zeros. */
static int read_image(const struct putting *p, uint64_t at, size_t size)
{
	const uint64_t left = p->image_size_bytes > at ? p->image_size_bytes - at : 0;
	const size_t stored = left < size ? (size_t)left : size;

	memset(p->there, 0, size);
	return stored == 0 ? 0
			   : qcow2_source_read(p->run->change.source, at, p->there, stored, p->err);
}

/* Where the header's cluster ends; the header alone has no other. */
static uint64_t header_end(const struct putting *p)
{
	return p->run->content.header_alone
		       ? UINT64_MAX
		       : UINT64_C(1) << qcow2_image_header(p->run->image)->cluster_bits;
}

static int put_sectors(const struct putting *p, uint64_t at, size_t start, size_t end)
{
	const bool is_header = at < header_end(p);

	if (start == end)
		return 0;
	return qcow2_plan_write(
		p->plan, is_header ? QCOW2_PHASE_POINT : QCOW2_PHASE_NEW, at + start,
		(struct qcow2_bytes){p->wanted + start, end - start},
		is_header ? "put the captured header back" : "put captured metadata back", p->err);
}

/* Plans those sectors of a piece that differ; neighbours are one write. */
static int put_piece(const struct putting *p, uint64_t at, size_t size)
{
	size_t start = 0; /* of sectors that differ, up to the one that is looked at */

	for (size_t done = 0, step; done < size; done += step) {
		step = size - done < SECTOR_BYTES ? size - done : SECTOR_BYTES;
		if (memcmp(p->wanted + done, p->there + done, step) != 0)
			continue;
		if (put_sectors(p, at, start, done))
			return -1;
		start = done + step;
	}
	return put_sectors(p, at, start, size);
}

/* Where the hole that both files have there ends, so that nothing differs; at most at `end`. */
static uint64_t hole_end(const struct putting *p, uint64_t at, uint64_t end)
{
	const uint64_t wanted = qcow2_source_hole_end(p->run->source, at);
	uint64_t there = end;

	if (wanted < end)
		end = wanted;
	if (at < p->image_size_bytes)
		there = qcow2_source_hole_end(p->run->change.source, at);
	/* Past its end, the image reads as zeros. */
	return there < end && there < p->image_size_bytes ? there : end;
}

static int put_range(const struct putting *p, const struct capture_range *range)
{
	const uint64_t header = header_end(p);
	uint64_t at = range->start_bytes, end;

	for (; at < range->end_bytes; at = end) {
		end = hole_end(p, at, range->end_bytes);
		if (end > at)
			continue;
		end = (at / PIECE_BYTES + 1) * PIECE_BYTES;
		if (end > range->end_bytes)
			end = range->end_bytes;
		/* A piece is of the header, or is not. */
		if (at < header && end > header)
			end = header;
		if (qcow2_source_read(p->run->source, at, p->wanted, (size_t)(end - at), p->err) ||
		    read_image(p, at, (size_t)(end - at)) || put_piece(p, at, (size_t)(end - at)))
			return -1;
	}
	return 0;
}

/*
 * While the image is half changed, no program may write to it: the corrupt bit says so, from the
 * first write to the last.
 */
static int put_corrupt_bit(const struct putting *p)
{
	const struct qcow2_header *header = qcow2_image_header(p->run->image);
	const size_t at = offsetof(struct qcow2_header, incompatible_features);
	uint8_t before[8], after[8];

	if (header->version < 3 || qcow2_plan_count(p->plan) == 0)
		return 0;
	for (size_t i = 0; i < sizeof(after); i++) {
		const uint64_t marked = header->incompatible_features | QCOW2_INCOMPATIBLE_CORRUPT;

		before[i] = (uint8_t)(marked >> (56 - 8 * i));
		after[i] = (uint8_t)(header->incompatible_features >> (56 - 8 * i));
	}
	return qcow2_plan_write(p->plan, QCOW2_PHASE_WITHDRAW, at,
				(struct qcow2_bytes){before, sizeof(before)},
				"corrupt, as long as half of it is changed", p->err) ||
			       qcow2_plan_write(p->plan, QCOW2_PHASE_CLEAN, at,
						(struct qcow2_bytes){after, sizeof(after)},
						"the features that were captured", p->err)
		       ? -1
		       : 0;
}

/*
 * Where no header is that opens, all names and extensions come from the capture: that is no accident.
 * Else the guards compare what there is before and after.
 */
static int intend(const struct putting *p)
{
	static const enum qcow2_intent intents[] = {QCOW2_INTENT_REPAIR, QCOW2_INTENT_EXTENSION,
						    QCOW2_INTENT_BACKING, QCOW2_INTENT_DATA_FILE};
	struct qcow2_image *image;
	size_t i;

	if (qcow2_image_open(p->run->change.source, &image, p->err) == 0) {
		qcow2_image_close(image);
		return 0;
	}
	if (p->err->code == QCOW2_ERROR_IO || p->err->code == QCOW2_ERROR_MEMORY)
		return -1;
	for (i = 0; i < sizeof(intents) / sizeof(intents[0]); i++)
		if (qcow2_plan_intend(p->plan, intents[i], (struct qcow2_bytes){NULL, 0}, p->err))
			return -1;
	return 0;
}

static int put_all(const struct putting *p)
{
	const struct capture_ranges *metadata = &p->run->content.metadata;

	if (p->image_size_bytes < p->run->facts.size_bytes &&
	    qcow2_plan_resize(p->plan, p->run->facts.size_bytes, p->err))
		return -1;
	for (size_t i = 0; i < metadata->count; i++)
		if (put_range(p, &metadata->list[i]))
			return -1;
	return put_corrupt_bit(p) || intend(p) ? -1 : 0;
}

static int plan_apply(struct change *change)
{
	struct capture_run *run = change->opaque;
	struct qcow2_error err;
	struct putting putting = {
		.run = run,
		.plan = change->report.plan,
		.image_size_bytes = qcow2_source_size_bytes(change->source),
		.wanted = malloc(PIECE_BYTES),
		.there = malloc(PIECE_BYTES),
		.err = &err,
	};
	int code = read_capture(run);

	if (code == EXIT_FINE)
		code = capture_refuse_losses(run);
	if (code == EXIT_FINE && (!putting.wanted || !putting.there))
		code = change_fail_text(change, "out of memory");
	if (code == EXIT_FINE && put_all(&putting))
		code = change_fail(change, &err);
	/* Another program may have written to the capture since it was proved. */
	if (code == EXIT_FINE)
		code = prove_bytes(run);
	if (code == EXIT_FINE)
		code = capture_tell_names(run);
	free(putting.wanted);
	free(putting.there);
	return code;
}

/* ---- the change ---- */

static int show_first(struct change *change)
{
	struct qcow2_error err;

	return plan_show_human(&change->out, &change->report, wants_colour(change->command), &err)
		       ? change_fail(change, &err)
		       : EXIT_FINE;
}

static bool is_confirmed(struct change *change)
{
	const struct capture_run *run = change->opaque;

	return change_ask(change, &(struct change_question){
					  run->yes, "Put the captured metadata back?", show_first});
}

int capture_apply(struct capture_run *run)
{
	struct change *change = &run->change;
	int code = open_capture(run);

	change->report.file = run->file;
	change->as_json = run->json;
	change->force = run->force;
	change->plan = plan_apply;
	change->confirm = is_confirmed;
	change->begins_itself = true;
	change->opaque = run;
	snprintf(change->description, sizeof(change->description), "capture --apply");
	if (code == EXIT_FINE)
		code = change_run(change);
	capture_content_release(&run->content);
	qcow2_image_close(run->image);
	qcow2_source_close(run->source);
	return code;
}
