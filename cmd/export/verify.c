/* SPDX-License-Identifier: MIT */
/*
 * Compares a target with its manifests, the full export first and then what was written into it. What
 * a later one has counts, so they are gone through from the last to the first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/crew.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/read_file.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "export/manifest.h"
#include "export/piece.h"
#include "export/run.h"
#include "export/show.h"
#include "export/verify.h"
#include "export/zeros.h"

/* One comparison. */
struct check {
	struct export_run *run;
	const char *file;
	struct qcow2_source *source;
	struct export_record *records;
	size_t record_count;
	struct export_range *covered; /* by later manifests: rising, apart */
	size_t covered_count;
	struct export_verified found;
};

/* A part of the target, of at most EXPORT_PIECE_BYTES. */
struct part {
	struct export_recorded recorded;
	bool differs;
	uint8_t bytes[EXPORT_PIECE_BYTES];
};

static int out_of_memory(const struct check *check)
{
	return report_text(check->run->command, check->file, "out of memory");
}

/* ---- any thread ---- */

static bool is_hole(const struct qcow2_source *source, const struct export_range *range)
{
	return qcow2_source_hole_end(source, range->start_bytes) >=
	       range->start_bytes + range->length_bytes;
}

static int make(void *opaque, unsigned worker, void *piece, struct qcow2_error *err)
{
	const struct check *check = opaque;
	struct part *part = piece;
	const struct export_range *range = &part->recorded.range;
	uint8_t digest[HASH_DIGEST_BYTES];

	(void)worker;
	part->differs = false;
	if (part->recorded.is_zero && is_hole(check->source, range))
		return 0;
	if (qcow2_source_read(check->source, range->start_bytes, part->bytes,
			      (size_t)range->length_bytes, err))
		return -1;
	if (part->recorded.is_zero) {
		part->differs = !zeros_only(part->bytes, (size_t)range->length_bytes);
		return 0;
	}
	hash_bytes(part->bytes, (size_t)range->length_bytes, digest);
	part->differs = memcmp(digest, part->recorded.digest, sizeof(digest)) != 0;
	return 0;
}

/* ---- in order ---- */

static int add_difference(struct export_verified *found, const struct export_range *range)
{
	struct export_range *last =
		found->difference_count ? &found->differences[found->difference_count - 1] : NULL;
	struct export_range *grown;

	found->different_bytes += range->length_bytes;
	if (last && last->start_bytes + last->length_bytes == range->start_bytes) {
		last->length_bytes += range->length_bytes;
		return 0;
	}
	if (found->difference_count == EXPORT_DIFFERENCES_MOST) {
		found->omitted++;
		return 0;
	}
	if (found->difference_count == found->room) {
		found->room = found->room ? 2 * found->room : 64;
		grown = realloc(found->differences, found->room * sizeof(*grown));
		if (!grown)
			return -1;
		found->differences = grown;
	}
	found->differences[found->difference_count++] = *range;
	return 0;
}

static int use(void *opaque, void *piece, struct qcow2_error *err)
{
	struct check *check = opaque;
	const struct part *part = piece;

	if (!part->differs) {
		check->found.proven_bytes += part->recorded.range.length_bytes;
		return 0;
	}
	if (add_difference(&check->found, &part->recorded.range) == 0)
		return 0;
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* Hands out a range: zeros in parts that end at multiples of their size. */
static int push(struct crew *crew, const struct export_recorded *recorded, struct qcow2_error *err)
{
	struct export_range left = recorded->range;

	while (left.length_bytes > 0) {
		struct part *part = crew_piece(crew, err);
		const uint64_t room =
			recorded->is_zero
				? EXPORT_PIECE_BYTES - left.start_bytes % EXPORT_PIECE_BYTES
				: EXPORT_PIECE_BYTES;
		const uint64_t length = left.length_bytes < room ? left.length_bytes : room;

		if (!part)
			return -1;
		part->recorded = *recorded;
		part->recorded.range = (struct export_range){left.start_bytes, length};
		if (crew_push(crew, err))
			return -1;
		left.start_bytes += length;
		left.length_bytes -= length;
	}
	return 0;
}

/* Finds the first of the covered ranges that ends behind a place. */
static size_t find_covered(const struct check *check, uint64_t at_bytes)
{
	size_t low = 0, high = check->covered_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const struct export_range *range = &check->covered[middle];

		if (range->start_bytes + range->length_bytes > at_bytes)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/*
 * Hands out what of a range no later manifest covers. Zeros can be compared in parts; of other ranges
 * the digest is of the whole.
 */
static int push_uncovered(struct check *check, struct crew *crew,
			  const struct export_recorded *recorded, struct qcow2_error *err)
{
	uint64_t at = recorded->range.start_bytes;
	const uint64_t end = at + recorded->range.length_bytes;

	for (size_t i = find_covered(check, at); at < end; i++) {
		const bool has = i < check->covered_count && check->covered[i].start_bytes < end;
		const uint64_t stop = !has ? end
				      : check->covered[i].start_bytes > at
					      ? check->covered[i].start_bytes
					      : at;
		const struct export_recorded part = {.range = {at, stop - at},
						     .is_zero = recorded->is_zero};

		if (stop - at == recorded->range.length_bytes)
			return push(crew, recorded, err);
		if (!recorded->is_zero)
			check->found.unproven_bytes += stop - at;
		else if (push(crew, &part, err))
			return -1;
		at = has ? check->covered[i].start_bytes + check->covered[i].length_bytes : end;
	}
	return 0;
}

/* Notes what of a range that could not be read no later manifest covers. */
static int add_unreadable(struct check *check, struct export_range range)
{
	struct export_verified *found = &check->found;
	const uint64_t end = range.start_bytes + range.length_bytes;
	uint64_t at = range.start_bytes;

	for (size_t i = find_covered(check, at); at < end; i++) {
		const bool has = i < check->covered_count && check->covered[i].start_bytes < end;
		const uint64_t stop = has ? check->covered[i].start_bytes : end;

		if (stop > at) {
			struct export_range *grown = realloc(
				found->unreadable, (found->unreadable_count + 1) * sizeof(*grown));

			if (!grown)
				return -1;
			found->unreadable = grown;
			grown[found->unreadable_count++] = (struct export_range){at, stop - at};
		}
		at = has ? check->covered[i].start_bytes + check->covered[i].length_bytes : end;
	}
	return 0;
}

static int add_all_unreadable(struct check *check, const struct export_record *record)
{
	int failed = 0;

	check->found.unreadable_omitted += record->unreadable_omitted;
	for (size_t i = 0; i < record->unreadable_count && !failed; i++)
		failed = add_unreadable(check, record->unreadable[i]);
	return failed;
}

static int check_record(struct check *check, const struct export_record *record,
			struct qcow2_error *err)
{
	const struct crew_work work = {
		.make = make,
		.use = use,
		.opaque = check,
		.piece_bytes = sizeof(struct part),
		.threads = check->run->threads,
	};
	struct crew *crew = crew_open(&work, err);
	struct qcow2_error ignored;
	int failed = !crew;

	for (size_t i = 0; i < record->count && !failed; i++)
		failed = push_uncovered(check, crew, &record->list[i], &ignored);
	if (crew)
		failed = crew_wait(crew, err);
	crew_close(crew);
	return failed;
}

/* Adds the ranges of a manifest to what is covered. */
static int cover(struct check *check, const struct export_record *record)
{
	struct export_range *grown = realloc(
		check->covered, (check->covered_count + record->count + 1) * sizeof(*grown));

	if (!grown)
		return -1;
	check->covered = grown;
	for (size_t i = 0; i < record->count; i++)
		grown[check->covered_count++] = record->list[i].range;
	check->covered_count = export_ranges_unite(grown, check->covered_count);
	return 0;
}

/* What no manifest has is not proven, either. */
static void count_uncovered(struct check *check)
{
	uint64_t left = check->records[check->record_count - 1].size_bytes;

	for (size_t i = 0; i < check->covered_count; i++)
		left -= check->covered[i].length_bytes;
	check->found.unproven_bytes += left;
}

static int check_all(struct check *check)
{
	struct qcow2_error err;

	for (size_t i = check->record_count; i-- > 0;) {
		if (check_record(check, &check->records[i], &err))
			return report_error(check->run->command, check->file, &err);
		if (add_all_unreadable(check, &check->records[i]) ||
		    cover(check, &check->records[i]))
			return out_of_memory(check);
	}
	count_uncovered(check);
	check->found.unreadable_count =
		export_ranges_unite(check->found.unreadable, check->found.unreadable_count);
	check->found.difference_count =
		export_ranges_unite(check->found.differences, check->found.difference_count);
	return export_show_verified(check->run, check->file, &check->found);
}

/* ---- opening ---- */

static int read_record(const struct check *check, const char *path, struct export_record *record)
{
	struct qcow2_error err;
	uint8_t *bytes = NULL;
	size_t size = 0;
	int failed;

	if (read_whole_file(path, EXPORT_MANIFEST_BYTES_MOST, &bytes, &size, &err))
		return report_error(check->run->command, path, &err);
	failed = export_record_read(record, (struct qcow2_bytes){bytes, size}, &err);
	free(bytes);
	if (failed)
		return report_error(check->run->command, path, &err);
	if (!record->is_complete)
		return report_text(check->run->command, path,
				   "the export is in progress, or was cut off: repeat it");
	return EXIT_FINE;
}

/* The target is as large as the disk was at the last export, unless it is a device. */
static int check_size(const struct check *check)
{
	const uint64_t size = qcow2_source_size_bytes(check->source);
	uint64_t wanted = check->records[check->record_count - 1].size_bytes;
	char text[128];
	struct stat st;

	if (size == wanted || (size > wanted && stat(check->file, &st) == 0 && S_ISBLK(st.st_mode)))
		return EXIT_FINE;
	snprintf(text, sizeof(text), "it has %" PRIu64 " bytes, and the exported disk has %" PRIu64,
		 size, wanted);
	return report_text(check->run->command, check->file, text);
}

/* A manifest of an earlier time is of a disk that was no larger, and a full export replaces all. */
static int check_order(const struct check *check)
{
	for (size_t i = 1; i < check->record_count; i++)
		if (!check->records[i].is_partial)
			return report_text(check->run->command, check->run->operands[i],
					   "it is of a full export, which comes first: nothing of "
					   "what was exported before is left");
	for (size_t i = 0; i + 1 < check->record_count; i++)
		if (check->records[i].size_bytes > check->records[i + 1].size_bytes)
			return report_text(
				check->run->command, check->run->operands[i],
				"its disk is larger than that of the manifest behind it: "
				"the first export comes first");
	return EXIT_FINE;
}

static int check_target(struct check *check)
{
	struct export_run *run = check->run;
	int code = EXIT_FINE;

	for (size_t i = 0; i < check->record_count && code == EXIT_FINE; i++)
		code = read_record(check, run->operands[i], &check->records[i]);
	if (code == EXIT_FINE)
		code = check_order(check);
	if (code == EXIT_FINE)
		code = check_size(check);
	if (code == EXIT_FINE)
		code = sandbox_seal(run->command);
	return code == EXIT_FINE ? check_all(check) : code;
}

int export_verify(struct export_run *run)
{
	struct check check = {.run = run,
			      .file = run->operands[run->operand_count - 1],
			      .record_count = (size_t)run->operand_count - 1};
	struct qcow2_error err;
	int code;

	run->threads = crew_threads();
	if (limits_open(run->command->common, check.file, &check.source, &err))
		return report_error(run->command, check.file, &err);
	warn_in_use(run->command, check.file, check.source);
	check.records = calloc(check.record_count, sizeof(*check.records));
	code = check.records ? check_target(&check) : out_of_memory(&check);
	for (size_t i = 0; check.records && i < check.record_count; i++)
		export_record_free(&check.records[i]);
	free(check.records);
	free(check.covered);
	free(check.found.differences);
	free(check.found.unreadable);
	qcow2_source_close(check.source);
	return code;
}
