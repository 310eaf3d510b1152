/* SPDX-License-Identifier: MIT */
/*
 * A hex dump: rows of 16 bytes, whose offsets are multiples of 16, with what each row is and which
 * file of the chain says so. Rows that repeat the one before are one asterisk, so that extents of
 * zeros cost nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "read/run.h"

#include <qcow2/text.h>

#define ROW       16
#define LAYER_MAX 48
/* An offset, the bytes, their text, the layer. */
#define ROW_MOST 192

struct fault {
	uint64_t start, end;
};

struct page {
	struct read_run *run;
	char layer[LAYER_MAX]; /* of the extent that is shown */
	bool is_unreadable;    /* no bytes are known */
	/* The row that was shown last; has_last: it was a whole one of this range. */
	bool has_last, is_folded;
	uint8_t last[ROW];
	char last_layer[LAYER_MAX];
	/* What of a piece could not be read. */
	struct fault *faults;
	size_t fault_count, fault_room;
	uint8_t *buffer;
};

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* ---- rows ---- */

static char *put_bytes(char *to, const uint8_t *bytes, unsigned first, unsigned count,
		       bool is_unreadable)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < ROW; i++) {
		const bool there = i >= first && i < first + count;
		const uint8_t byte = there ? bytes[i - first] : 0;

		*to++ = ' ';
		*to++ = !there ? ' ' : is_unreadable ? '-' : digits[byte >> 4];
		*to++ = !there ? ' ' : is_unreadable ? '-' : digits[byte & 15];
		if (i == ROW / 2 - 1)
			*to++ = ' ';
	}
	*to++ = ' ';
	*to++ = ' ';
	*to++ = '|';
	for (unsigned i = 0; i < ROW; i++) {
		const bool there = i >= first && i < first + count;
		const uint8_t byte = there ? bytes[i - first] : ' ';

		*to++ = is_unreadable && there        ? '-'
			: byte >= 0x20 && byte < 0x7f ? (char)byte
						      : '.';
	}
	*to++ = '|';
	return to;
}

/* Shows the bytes [at, at + count) of one row. */
static void put_row(struct page *page, uint64_t at, const uint8_t *bytes, unsigned count)
{
	struct spool *out = &page->run->out;
	char *to = spool_reserve(out, ROW_MOST);

	if (!to)
		return;
	to += snprintf(to, 32, "0x%08" PRIx64 " ", at / ROW * ROW);
	to = put_bytes(to, bytes, (unsigned)(at % ROW), count, page->is_unreadable);
	to += snprintf(to, LAYER_MAX + 4, "  %s\n", page->layer);
	spool_advance(out, to);
}

static bool is_repeated(const struct page *page, const uint8_t *bytes, unsigned count)
{
	return count == ROW && page->has_last && memcmp(page->last, bytes, ROW) == 0 &&
	       strcmp(page->last_layer, page->layer) == 0;
}

static void show_row(struct page *page, uint64_t at, const uint8_t *bytes, unsigned count)
{
	if (is_repeated(page, bytes, count)) {
		if (!page->is_folded)
			spool_text(&page->run->out, "*\n");
		page->is_folded = true;
		return;
	}
	put_row(page, at, bytes, count);
	page->is_folded = false;
	page->has_last = count == ROW;
	if (page->has_last) {
		memcpy(page->last, bytes, ROW);
		memcpy(page->last_layer, page->layer, sizeof(page->layer));
	}
}

static void show_rows(struct page *page, uint64_t at, const uint8_t *bytes, uint64_t size)
{
	while (size > 0) {
		const unsigned room = ROW - (unsigned)(at % ROW);
		const unsigned count = size < room ? (unsigned)size : room;

		show_row(page, at, bytes, count);
		at += count;
		bytes += count;
		size -= count;
	}
}

/* Shows bytes that are all the same without making them: no more rows than differ. */
static void show_same(struct page *page, uint64_t at, uint64_t size)
{
	static const uint8_t zeros[4 * ROW];
	const uint64_t end = at + size;
	uint64_t last_row = end / ROW * ROW;

	if (size <= sizeof(zeros)) {
		show_rows(page, at, zeros, size);
		return;
	}
	/* The first row may be a part of one; the second is whole, and the third repeats it. */
	show_rows(page, at, zeros, 3 * ROW - at % ROW);
	if (last_row < end)
		show_rows(page, last_row, zeros, end - last_row);
}

/* ---- extents ---- */

static void name_layer(struct page *page, const struct qcow2_disk_extent *extent)
{
	const char *kind = qcow2_disk_kind_name(extent->kind);

	if (extent->kind == QCOW2_DISK_DATA && extent->compressed)
		kind = "compressed";
	else if (extent->kind == QCOW2_DISK_DATA && extent->encrypted)
		kind = "encrypted";
	if (extent->kind == QCOW2_DISK_UNALLOCATED)
		snprintf(page->layer, sizeof(page->layer), "%s", kind);
	else
		snprintf(page->layer, sizeof(page->layer), "%" PRIu32 " %s", extent->depth, kind);
	page->is_unreadable = extent->kind == QCOW2_DISK_UNREADABLE;
}

static int hear(void *opaque, const struct qcow2_disk_fault *fault)
{
	struct page *page = opaque;
	struct fault *grown;

	read_faults_hear(page->run, fault);
	if (page->fault_count == page->fault_room) {
		page->fault_room = 2 * page->fault_room + 16;
		grown = realloc(page->faults, page->fault_room * sizeof(*grown));
		if (!grown)
			return -1;
		page->faults = grown;
	}
	page->faults[page->fault_count++] =
		(struct fault){fault->start.byte, fault->start.byte + fault->length_bytes};
	return 0;
}

/* Shows what was read, and between it what could not be read. */
static void show_piece(struct page *page, uint64_t at, uint64_t end)
{
	const uint64_t start = at;
	char layer[LAYER_MAX];

	memcpy(layer, page->layer, sizeof(layer));
	for (size_t i = 0; i < page->fault_count; i++) {
		const struct fault *fault = &page->faults[i];

		show_rows(page, at, page->buffer + (at - start), fault->start - at);
		page->is_unreadable = true;
		snprintf(page->layer, sizeof(page->layer), "%.20s, unreadable", layer);
		show_same(page, fault->start, fault->end - fault->start);
		page->is_unreadable = false;
		memcpy(page->layer, layer, sizeof(layer));
		at = fault->end;
	}
	show_rows(page, at, page->buffer + (at - start), end - at);
}

/* Reads a piece of an extent, and shows it. Returns 0, or -1 with *err filled. */
static int read_piece(struct page *page, uint64_t at, size_t size, struct qcow2_error *err)
{
	struct read_run *run = page->run;

	page->fault_count = 0;
	if (!run->request.salvage) {
		if (qcow2_disk_read(run->disk.disk, (struct qcow2_guest){at}, page->buffer, size,
				    err))
			return -1;
	} else if (qcow2_disk_read_past(run->disk.disk, (struct qcow2_guest){at}, page->buffer,
					size, hear, page, err)) {
		return err->code == QCOW2_ERROR_STOPPED ? fail_memory(err) : -1;
	}
	show_piece(page, at, at + size);
	return 0;
}

static int show_data(struct page *page, uint64_t at, uint64_t size, struct qcow2_error *err)
{
	while (size > 0 && page->run->out.errnum == 0) {
		const size_t room = READ_PIECE_BYTES - (size_t)(at % READ_PIECE_BYTES);
		const size_t piece = size < room ? (size_t)size : room;

		if (read_piece(page, at, piece, err))
			return -1;
		read_did(page->run, piece);
		at += piece;
		size -= piece;
	}
	return 0;
}

static int show_extent(struct page *page, const struct qcow2_disk_extent *extent,
		       struct qcow2_error *err)
{
	struct read_run *run = page->run;

	name_layer(page, extent);
	if (extent->kind == QCOW2_DISK_DATA)
		return show_data(page, extent->start.byte, extent->length_bytes, err);
	/* A sector of what cannot be read says why. */
	if (page->is_unreadable && !run->request.salvage)
		return qcow2_disk_read(
			run->disk.disk, extent->start, page->buffer,
			extent->length_bytes < ROW ? (size_t)extent->length_bytes : ROW, err);
	if (page->is_unreadable) {
		struct read_fault fault = {.start_bytes = extent->start.byte,
					   .length_bytes = extent->length_bytes,
					   .depth = extent->depth,
					   .problem = extent->problem};

		(void)qcow2_disk_read(run->disk.disk, extent->start, page->buffer, 1, &fault.error);
		read_faults_add(run, &fault);
	}
	show_same(page, extent->start.byte, extent->length_bytes);
	read_did(run, extent->length_bytes);
	return 0;
}

static int show_range(struct page *page, struct qcow2_disk_extents *extents,
		      const struct range *range, struct qcow2_error *err)
{
	const struct qcow2_disk_extent *extent;
	int more;

	page->has_last = page->is_folded = false;
	qcow2_disk_extents_seek(extents, (struct qcow2_guest){range->start}, range->length);
	while ((more = qcow2_disk_extents_next(extents, &extent, err)) > 0 &&
	       page->run->out.errnum == 0)
		if (show_extent(page, extent, err))
			return -1;
	spool_print(&page->run->out, "0x%08" PRIx64 "\n", range->start + range->length);
	return more < 0 ? -1 : 0;
}

/* ---- all ---- */

/* Says which files the numbers of layers stand for. */
static void show_files(const struct read_run *run, struct spool *out)
{
	const struct disk *disk = &run->disk;
	char name[4096];

	for (size_t i = 0; disk->file_count > 1 && i < disk->file_count; i++) {
		const struct disk_file *file = &disk->files[i];

		qcow2_text_escape(
			(struct qcow2_bytes){(const uint8_t *)file->path, strlen(file->path)}, name,
			sizeof(name));
		spool_print(out, "%s%" PRIu32 "  %s%s\n", i == 0 ? "\n" : "", file->depth, name,
			    file->role == QCOW2_DISK_DATA_FILE ? " (data file)" : "");
	}
}

int read_hex(struct read_run *run, struct qcow2_error *err)
{
	struct page page = {.run = run, .buffer = malloc(READ_PIECE_BYTES)};
	struct qcow2_disk_extents *extents = NULL;
	int failed = -1;

	if (!page.buffer)
		(void)fail_memory(err);
	else
		failed = qcow2_disk_extents_open(run->disk.disk, &extents, err);
	for (size_t i = 0; i < run->range_count && !failed; i++)
		failed = show_range(&page, extents, &run->ranges[i], err);
	if (!failed)
		show_files(run, &run->out);
	qcow2_disk_extents_close(extents);
	free(page.faults);
	free(page.buffer);
	return failed;
}
