/* SPDX-License-Identifier: MIT */
/* Reads the records of an undo file: proves them once, then finds them by place. See layout.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "plan/places.h"
#include "undo/file.h"
#include "undo/layout.h"

/* The most records that are read into memory. */
#define RECORDS_MOST (2 * Q2_WRITES_MOST)

/* Reading of records, and how far it is. */
struct proving {
	struct qcow2_undo *undo;
	uint64_t at;
	struct qcow2_error *err;
};

static int broken(struct proving *p, const char *what)
{
	return q2_fail(p->err, QCOW2_ERROR_BROKEN, p->at, "the undo file is damaged: %s", what);
}

/* Reads the bytes of a record and compares the checksum. */
static int prove(struct proving *p, const struct q2_undo_record *record, uint64_t seed,
		 uint64_t sum)
{
	struct qcow2_undo *undo = p->undo;
	struct qcow2_bytes bytes = {undo->buffer, (size_t)record->old_size + record->new_size};

	if (qcow2_source_read(undo->file, record->at, undo->buffer, bytes.size, p->err))
		return -1;
	if (q2_undo_checksum(seed, bytes) != sum)
		return broken(p, "a checksum is wrong");
	p->at = record->at + bytes.size;
	return 0;
}

/* Reads a piece or a freed record. */
static int take_piece(struct proving *p, struct q2_undo_record *record, uint64_t seed)
{
	const struct qcow2_undo_info *info = &p->undo->info;
	uint8_t head[Q2_UNDO_PIECE_BYTES];

	if (qcow2_source_read(p->undo->file, p->at, head, sizeof(head), p->err))
		return -1;
	record->offset_bytes = q2_load_be64(head);
	record->size = q2_load_be32(head + 8);
	record->old_size = q2_load_be32(head + 12);
	record->new_size = q2_load_be32(head + 16);
	record->phase = q2_load_be32(head + 20);
	record->at = p->at + sizeof(head);
	if (record->phase >= Q2_PHASES)
		return broken(p, "a piece has no phase");
	if (record->offset_bytes > INT64_MAX || record->size > Q2_PLACE_MOST_BYTES ||
	    record->size == 0 || record->old_size > record->size ||
	    record->new_size > record->size ||
	    (record->old_size > 0 &&
	     record->offset_bytes + record->old_size > info->old_size_bytes) ||
	    (record->new_size > 0 &&
	     record->offset_bytes + record->new_size > info->new_size_bytes))
		return broken(p, "a piece has impossible lengths");
	return prove(p, record, q2_undo_checksum(seed, (struct qcow2_bytes){head, 24}),
		     q2_load_be64(head + 24));
}

static int take_possible(struct proving *p, struct q2_undo_record *record)
{
	uint8_t head[Q2_UNDO_POSSIBLE_BYTES];

	if (qcow2_source_read(p->undo->file, p->at, head, sizeof(head), p->err))
		return -1;
	record->offset_bytes = q2_load_be64(head);
	record->size = record->old_size = q2_load_be32(head + 8);
	record->at = p->at + sizeof(head);
	record->phase = q2_load_be32(head + 12) - 1;
	if (record->size > Q2_PLACE_MOST_BYTES || record->offset_bytes > INT64_MAX)
		return broken(p, "possible bytes have impossible lengths");
	if (record->phase >= Q2_PHASES)
		return broken(p, "possible bytes have no phase");
	return prove(p, record,
		     q2_undo_checksum(Q2_UNDO_SEED_POSSIBLE, (struct qcow2_bytes){head, 16}),
		     q2_load_be64(head + 16));
}

/* Reads all records of one kind. */
static int take_all(struct proving *p, struct q2_undo_records *records, uint64_t count,
		    uint64_t seed)
{
	uint64_t last = 0;

	records->items = q2_alloc_array((size_t)count, sizeof(*records->items));
	if (!records->items)
		return q2_fail_memory(p->err);
	for (; records->count < count; records->count++) {
		struct q2_undo_record *record = &records->items[records->count];

		if (seed == Q2_UNDO_SEED_POSSIBLE) {
			if (take_possible(p, record))
				return -1;
			record->order = (uint32_t)records->count;
			if (record->size > p->undo->longest_possible)
				p->undo->longest_possible = record->size;
			continue;
		}
		if (take_piece(p, record, seed))
			return -1;
		if (record->offset_bytes < last)
			return broken(p, "pieces are not in order");
		last = record->offset_bytes + record->size;
	}
	return 0;
}

static int by_offset(const void *left, const void *right)
{
	const struct q2_undo_record *a = left, *b = right;

	return a->offset_bytes < b->offset_bytes ? -1 : a->offset_bytes > b->offset_bytes;
}

/* Whether there are as many bytes as the head says. */
static bool adds_up(const struct qcow2_undo *undo)
{
	uint64_t bytes = 0, freed_bytes = 0;

	for (size_t i = 0; i < undo->pieces.count; i++)
		bytes += undo->pieces.items[i].old_size;
	for (size_t i = 0; i < undo->freed.count; i++)
		freed_bytes += undo->freed.items[i].size;
	return bytes == undo->info.bytes && freed_bytes == undo->info.freed_bytes;
}

static int prove_all(struct proving *p)
{
	struct qcow2_undo *undo = p->undo;
	uint64_t size = qcow2_source_size_bytes(undo->file);
	uint64_t pieces = undo->info.pieces, possible = undo->possible_count;
	uint64_t freed = undo->freed_count;

	p->at = Q2_UNDO_TEXTS_AT + undo->info.image_path.size + undo->info.command.size;
	/* Each record takes some bytes of the file: a count that does not fit is wrong. */
	if (pieces > size / Q2_UNDO_PIECE_BYTES || freed > size / Q2_UNDO_PIECE_BYTES ||
	    possible > size / Q2_UNDO_POSSIBLE_BYTES)
		return broken(p, "it says that it has more than it can have");
	if (pieces + possible + freed > RECORDS_MOST)
		return q2_fail(p->err, QCOW2_ERROR_LIMIT, 56, "the undo file has over %zu records",
			       RECORDS_MOST);
	if (take_all(p, &undo->pieces, pieces, Q2_UNDO_SEED_PIECE) ||
	    take_all(p, &undo->possible, possible, Q2_UNDO_SEED_POSSIBLE) ||
	    take_all(p, &undo->freed, freed, Q2_UNDO_SEED_FREED))
		return -1;
	if (p->at != size || !adds_up(undo))
		return broken(p, "there is more or less than it says");
	if (undo->possible.count > 1)
		qsort(undo->possible.items, undo->possible.count, sizeof(*undo->possible.items),
		      by_offset);
	return 0;
}

int q2_undo_prove(struct qcow2_undo *undo, struct qcow2_error *err)
{
	struct proving p = {.undo = undo, .err = err};

	if (undo->is_proved)
		return 0;
	if (!undo->buffer)
		undo->buffer = q2_alloc_buffer(2 * Q2_PLACE_MOST_BYTES);
	if (!undo->buffer)
		return q2_fail_memory(err);
	q2_free(undo->pieces.items);
	q2_free(undo->possible.items);
	q2_free(undo->freed.items);
	undo->pieces = undo->possible = undo->freed = (struct q2_undo_records){.count = 0};
	undo->longest_possible = 0;
	if (prove_all(&p))
		return -1;
	undo->is_proved = true;
	return 0;
}

size_t q2_undo_find(const struct q2_undo_records *records, uint64_t offset)
{
	size_t low = 0, high = records->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (records->items[middle].offset_bytes + records->items[middle].size > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/*
 * Possible bytes may overlap, so that they are sorted by where they begin. The longest
 * one bounds how far before the range the search has to begin.
 */
struct q2_undo_overlap q2_undo_overlaps(const struct qcow2_undo *undo, uint64_t start, uint64_t end)
{
	const struct q2_undo_records *possible = &undo->possible;
	size_t low = 0, high = possible->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (possible->items[middle].offset_bytes + undo->longest_possible > start)
			high = middle;
		else
			low = middle + 1;
	}
	return (struct q2_undo_overlap){.start = start, .end = end, .next = low};
}

bool q2_undo_next_overlap(const struct qcow2_undo *undo, struct q2_undo_overlap *overlap)
{
	const struct q2_undo_records *possible = &undo->possible;

	for (; overlap->next < possible->count; overlap->next++) {
		const struct q2_undo_record *record = &possible->items[overlap->next];
		uint64_t first = record->offset_bytes, last = first + record->size;

		if (first >= overlap->end)
			return false;
		overlap->record = record;
		overlap->first = first > overlap->start ? first : overlap->start;
		overlap->last = last < overlap->end ? last : overlap->end;
		if (overlap->first < overlap->last) {
			overlap->next++;
			return true;
		}
	}
	return false;
}

int q2_undo_read_overlap(const struct qcow2_undo *undo, const struct q2_undo_overlap *overlap,
			 uint8_t *bytes, struct qcow2_error *err)
{
	uint64_t skipped = overlap->first - overlap->record->offset_bytes;

	return qcow2_source_read(undo->file, overlap->record->at + skipped, bytes,
				 (size_t)(overlap->last - overlap->first), err);
}

int q2_undo_read_old(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		     uint8_t *bytes, struct qcow2_error *err)
{
	memset(bytes + record->old_size, 0, record->size - record->old_size);
	return qcow2_source_read(undo->file, record->at, bytes, record->old_size, err);
}

int q2_undo_read_new(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		     uint8_t *bytes, struct qcow2_error *err)
{
	memset(bytes + record->new_size, 0, record->size - record->new_size);
	return qcow2_source_read(undo->file, record->at + record->old_size, bytes, record->new_size,
				 err);
}

bool q2_undo_freed_byte(const struct qcow2_undo *undo, uint64_t offset, uint8_t *byte)
{
	size_t at = q2_undo_find(&undo->freed, offset);
	const struct q2_undo_record *record = &undo->freed.items[at];

	if (at == undo->freed.count || record->offset_bytes > offset)
		return false;
	*byte = 0;
	offset -= record->offset_bytes;
	return offset >= record->old_size ||
	       qcow2_source_read(undo->file, record->at + offset, byte, 1, NULL) == 0;
}

int qcow2_undo_at(struct qcow2_undo *undo, uint64_t index, const struct qcow2_undo_piece **out,
		  struct qcow2_error *err)
{
	const struct q2_undo_record *record;

	if (q2_undo_prove(undo, err))
		return -1;
	if (index >= undo->pieces.count)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the undo file has %zu pieces, and none with index %" PRIu64,
			       undo->pieces.count, index);
	record = &undo->pieces.items[index];
	if (qcow2_source_read(undo->file, record->at, undo->buffer,
			      (size_t)record->old_size + record->new_size, err))
		return -1;
	undo->piece = (struct qcow2_undo_piece){
		.size = sizeof(undo->piece),
		.offset_bytes = record->offset_bytes,
		.old_bytes = {undo->buffer, record->old_size},
		.new_bytes = {undo->buffer + record->old_size, record->new_size},
	};
	*out = &undo->piece;
	return 0;
}
