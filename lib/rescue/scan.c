/* SPDX-License-Identifier: MIT */
/*
 * See scan.h. Most sectors of a disk show with their first word that they are no table, so that the
 * medium is what the scan waits for.
 */
#include "rescue/scan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "format/l2_table.h"
#include "rescue/marks.h"
#include "rescue/words.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define WORDS       (Q2_SECTOR_BYTES / 8)
/* The last run that sectors may be added to has at most this many. */
#define RUN_SECTORS_MOST (UINT32_MAX / 2)

/* Whether the second words of a sector are subcluster bitmaps that fit the first ones. */
static bool is_extended(const uint8_t *sector, const struct q2_words *words,
			struct q2_scan_run *run)
{
	run->alignment_bits = Q2_ALIGNMENT_NONE;
	for (size_t i = 0; i < WORDS / 2; i++) {
		uint64_t entry = q2_l2_entry_at(sector, i, 16);
		uint64_t bitmap = q2_l2_subclusters_at(sector, i, 16);

		if (!q2_word_is_extended(words, entry, bitmap))
			return false;
		q2_run_note(run, entry);
	}
	run->has_bitmaps = true;
	return true;
}

static bool is_table(const uint8_t *sector, const struct q2_words *words, struct q2_scan_run *run)
{
	run->alignment_bits = Q2_ALIGNMENT_NONE;
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t entry = q2_load_be64(sector + i * 8);

		if (!q2_word_is_entry(words, entry))
			return is_extended(sector, words, run);
		q2_run_note(run, entry);
	}
	return true;
}

static bool is_zero(const uint8_t *sector)
{
	return q2_load_be64(sector) == 0 && memcmp(sector, sector + 8, Q2_SECTOR_BYTES - 8) == 0;
}

/* Adds a sector to the run before it, or begins one. */
static int keep_run(struct q2_scan *scan, const struct q2_scan_run *run, struct qcow2_error *err)
{
	struct q2_scan_run *last =
		scan->runs.count ? q2_vector_at(&scan->runs, scan->runs.count - 1) : NULL;
	enum qcow2_error_code code;

	if (last && last->first_sector + last->sectors == run->first_sector &&
	    last->sectors < RUN_SECTORS_MOST) {
		q2_run_join(last, run);
		return 0;
	}
	code = q2_vector_push(&scan->runs, run);
	scan->stopped |= code == QCOW2_ERROR_LIMIT;
	return code == QCOW2_ERROR_MEMORY ? q2_fail_memory(err) : 0;
}

static int keep_mark(struct q2_scan *scan, const struct q2_scan_mark *mark, struct qcow2_error *err)
{
	enum qcow2_error_code code = q2_vector_push(&scan->marks, mark);

	scan->stopped |= code == QCOW2_ERROR_LIMIT;
	return code == QCOW2_ERROR_MEMORY ? q2_fail_memory(err) : 0;
}

/* Looks at a piece; size is a multiple of sectors. */
static int scan_piece(struct q2_scan *scan, const struct q2_words *words, uint64_t offset,
		      struct qcow2_bytes piece, struct qcow2_error *err)
{
	for (size_t at = 0; at < piece.size; at += Q2_SECTOR_BYTES) {
		const uint8_t *sector = piece.data + at;
		struct q2_scan_run run = {.first_sector = (offset + at) / Q2_SECTOR_BYTES,
					  .sectors = 1};
		struct q2_scan_mark mark = {.offset_bytes = offset + at};

		if (is_zero(sector))
			continue;
		if (q2_mark_kind(sector, scan->file_size_bytes, &mark.kind) &&
		    keep_mark(scan, &mark, err))
			return -1;
		if (is_table(sector, words, &run) && keep_run(scan, &run, err))
			return -1;
	}
	return 0;
}

static int tell_progress(const struct qcow2_rescue_options *options, uint64_t done, uint64_t total,
			 struct qcow2_error *err)
{
	if (!options->progress || options->progress(options->opaque, done, total) == 0)
		return 0;
	return q2_fail(err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped by the caller");
}

/* Reads the file from its begin, holes left out. The last sector is filled up with zeros. */
static int scan_pieces(struct q2_scan *scan, const struct qcow2_rescue_options *options,
		       uint8_t *buffer, struct qcow2_error *err)
{
	const struct q2_words words = {.end_bytes = scan->file_size_bytes,
				       .data_file = options->data_file != NULL};
	uint64_t size = scan->file_size_bytes;

	for (uint64_t at = 0; at < size;) {
		uint64_t hole = qcow2_source_hole_end(scan->source, at);
		size_t length = PIECE_BYTES, padded;

		at = hole >= size ? size : hole & ~(uint64_t)(Q2_SECTOR_BYTES - 1);
		if (tell_progress(options, at, size, err))
			return -1;
		if (at >= size)
			break;
		if (length > size - at)
			length = (size_t)(size - at);
		if (qcow2_source_read(scan->source, at, buffer, length, err))
			return -1;
		padded = (length + Q2_SECTOR_BYTES - 1) & ~(size_t)(Q2_SECTOR_BYTES - 1);
		memset(buffer + length, 0, padded - length);
		if (scan_piece(scan, &words, at, (struct qcow2_bytes){buffer, padded}, err))
			return -1;
		at += length;
	}
	return tell_progress(options, size, size, err);
}

int q2_scan_file(struct q2_scan *scan, struct qcow2_source *source,
		 const struct qcow2_rescue_options *options, struct qcow2_error *err)
{
	uint8_t *buffer = q2_alloc_buffer(PIECE_BYTES);
	int result;

	scan->source = source;
	scan->file_size_bytes = qcow2_source_size_bytes(source);
	q2_vector_init(&scan->runs, sizeof(struct q2_scan_run), Q2_SCAN_RUNS_MOST);
	q2_vector_init(&scan->marks, sizeof(struct q2_scan_mark), Q2_SCAN_MARKS_MOST);
	if (!buffer)
		return q2_fail_memory(err);
	result = scan_pieces(scan, options, buffer, err);
	q2_free(buffer);
	return result;
}

void q2_scan_release(struct q2_scan *scan)
{
	q2_vector_release(&scan->runs);
	q2_vector_release(&scan->marks);
}
