/* SPDX-License-Identifier: MIT */
/*
 * Reads two tables at once, in pieces. Pieces with the same bytes cost a comparison of memory; what
 * both files have as holes is not read.
 */
#include <string.h>

#include "base/bytes.h"
#include "diff/internal.h"
#include "image/internal.h"

/* Where reading goes on behind a hole, so that entries are never split. */
#define ALIGNMENT UINT64_C(4096)

struct q2_diff_table q2_diff_table(const struct q2_diff *d, enum qcow2_diff_side side,
				   uint64_t offset_bytes, uint64_t claimed_bytes)
{
	const struct qcow2_image *image = d->halves[side].image;
	uint64_t end = q2_image_readable_end(image), there = 0;

	if (offset_bytes < qcow2_source_size_bytes(qcow2_image_source(image)))
		there = (end - offset_bytes) & ~UINT64_C(7);
	return (struct q2_diff_table){offset_bytes, claimed_bytes,
				      claimed_bytes < there ? claimed_bytes : there};
}

struct qcow2_diff_entry q2_diff_place(const struct q2_diff_table *table, uint64_t at)
{
	bool there = at < table->there_bytes;

	return (struct qcow2_diff_entry){.size = sizeof(struct qcow2_diff_entry),
					 .lost = !there && at < table->claimed_bytes,
					 .offset_bytes = there ? table->offset_bytes + at
							       : QCOW2_NO_OFFSET};
}

bool q2_diff_only_one(const struct q2_diff_table tables[2], uint64_t at)
{
	for (size_t side = 0; side < 2; side++)
		if (at >= tables[side].there_bytes && at < tables[side].claimed_bytes &&
		    at < tables[!side].there_bytes)
			return true;
	return false;
}

/* Reads into the buffer of an image: more than is asked for if tables follow each other. */
static bool load(struct q2_diff *d, enum qcow2_diff_side side, uint64_t offset, uint64_t size)
{
	struct q2_diff_half *half = &d->halves[side];
	uint64_t rest = q2_image_readable_end(half->image) - offset;

	if (offset == half->buffer_end)
		size = rest < Q2_DIFF_PIECE_BYTES ? rest : Q2_DIFF_PIECE_BYTES;
	half->buffer_at = half->buffer_end = 0;
	if (q2_image_read_padded(half->image, offset, half->buffer, (size_t)size, d->err)) {
		q2_diff_fail(d, side);
		return false;
	}
	half->buffer_at = offset;
	half->buffer_end = offset + size;
	return true;
}

/* Gives a piece of a table, padded with zeros. NULL after a failure. */
static const uint8_t *fetch(struct q2_diff *d, enum qcow2_diff_side side,
			    const struct q2_diff_table *table, const struct q2_diff_piece *piece)
{
	struct q2_diff_half *half = &d->halves[side];
	uint64_t rest = piece->at < table->there_bytes ? table->there_bytes - piece->at : 0;
	size_t there = rest < piece->size ? (size_t)rest : piece->size;
	uint64_t offset = table->offset_bytes + piece->at;
	const uint8_t *bytes;

	half->left_bytes -= there < half->left_bytes ? there : half->left_bytes;
	if (there > 0 && (offset < half->buffer_at || offset + there > half->buffer_end) &&
	    !load(d, side, offset, there))
		return NULL;
	bytes = half->buffer + (there > 0 ? offset - half->buffer_at : 0);
	if (there == piece->size)
		return bytes;
	memcpy(half->piece, bytes, there);
	memset(half->piece + there, 0, piece->size - there);
	return half->piece;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* The place up to which a table is known to be zeros, and neither begins nor ceases to be lost. */
static uint64_t zeros_end(const struct q2_diff_half *half, const struct q2_diff_table *table,
			  uint64_t at, uint64_t end)
{
	bool cut = table->claimed_bytes > table->there_bytes;
	uint64_t hole;

	if (at >= table->there_bytes)
		return cut ? at : end;
	hole = qcow2_source_hole_end(qcow2_image_source(half->image), table->offset_bytes + at) -
	       table->offset_bytes;
	if (hole < table->there_bytes)
		return hole;
	return cut ? table->there_bytes : end;
}

/* Where to go on behind a piece of zeros: at `at`, or behind the holes that both files have. */
static uint64_t skip(const struct q2_diff *d, const struct q2_diff_table tables[2], uint64_t at,
		     uint64_t end)
{
	uint64_t a = zeros_end(&d->halves[0], &tables[0], at, end);
	uint64_t b = a > at ? zeros_end(&d->halves[1], &tables[1], at, end) : at;
	uint64_t next = a < b ? a : b;

	if (next >= end)
		return end;
	next &= ~(ALIGNMENT - 1);
	return next > at ? next : at;
}

static bool cuts(const struct q2_diff_table tables[2], const struct q2_diff_piece *piece)
{
	return q2_diff_only_one(tables, piece->at) ||
	       q2_diff_only_one(tables, piece->at + piece->size - 8);
}

void q2_diff_read(struct q2_diff *d, const struct q2_diff_table tables[2], bool all,
		  q2_diff_hear hear, void *opaque)
{
	uint64_t a = tables[0].there_bytes, b = tables[1].there_bytes, end = a > b ? a : b;
	struct q2_diff_piece piece = {.at = 0};

	while (piece.at < end && !d->failed) {
		uint64_t rest = end - piece.at;

		piece.size = rest < Q2_DIFF_PIECE_BYTES ? (size_t)rest : Q2_DIFF_PIECE_BYTES;
		if (d->halves[0].left_bytes == 0 || d->halves[1].left_bytes == 0) {
			d->short_of_reads = true;
			return;
		}
		for (size_t side = 0; side < 2 && !d->failed; side++)
			piece.bytes[side] =
				fetch(d, (enum qcow2_diff_side)side, &tables[side], &piece);
		if (d->failed)
			return;
		bool zeros = is_zero(piece.bytes[0], piece.size);
		bool differ = memcmp(piece.bytes[0], piece.bytes[1], piece.size) != 0;

		zeros = zeros && !differ;
		if ((all && !zeros) || differ || cuts(tables, &piece))
			hear(d, tables, &piece, opaque);
		piece.at += piece.size;
		if (zeros && piece.at < end)
			piece.at = skip(d, tables, piece.at, end);
	}
}

void q2_diff_outer(struct q2_diff *d, const struct q2_diff_piece *piece)
{
	for (size_t side = 0; side < 2; side++)
		memcpy(d->halves[side].outer, piece->bytes[side], piece->size);
}

uint64_t q2_diff_outer_entry(const struct q2_diff *d, enum qcow2_diff_side side, size_t at)
{
	return q2_load_be64(d->halves[side].outer + at);
}

bool q2_diff_compared(struct q2_diff *d, enum qcow2_diff_table kind,
		      const struct q2_diff_table tables[2])
{
	const uint64_t pair[] = {kind, tables[0].offset_bytes, tables[0].claimed_bytes,
				 tables[1].offset_bytes, tables[1].claimed_bytes};
	const struct qcow2_bytes bytes = {(const uint8_t *)pair, sizeof(pair)};
	uint64_t earlier = Q2_NAME_SET_NEW;

	if (q2_name_set_insert(&d->compared, q2_hash(&d->hash_key, bytes), 0, &earlier) ==
	    QCOW2_ERROR_MEMORY)
		q2_diff_fail_memory(d);
	return earlier != Q2_NAME_SET_NEW;
}
