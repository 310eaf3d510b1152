/* SPDX-License-Identifier: MIT */
/* Compares the refcount tables, and the refcounts of the clusters of both files. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>

#include "diff/internal.h"

/* Tells of those refcounts of 8 bytes of both blocks that differ. */
static void compare_counts(struct q2_diff *d, const struct q2_diff_table tables[2],
			   const struct q2_diff_piece *piece, size_t i)
{
	unsigned bits = d->halves[0].geometry->refcount_bits;
	uint64_t first = (piece->at + i) * 8 / bits;
	bool only_one = q2_diff_only_one(tables, piece->at + i);

	for (unsigned k = 0; k < 64 / bits && !d->failed; k++) {
		struct qcow2_diff_entry entries[2];

		for (size_t side = 0; side < 2; side++) {
			entries[side] = q2_diff_place(&tables[side], piece->at + i);
			entries[side].entry = qcow2_refcount_get(piece->bytes[side] + i, k, bits);
			if (entries[side].offset_bytes != QCOW2_NO_OFFSET)
				entries[side].offset_bytes += k * bits / 8;
		}
		if (entries[0].entry != entries[1].entry || only_one)
			q2_diff_run_add(d, first + k, entries);
	}
}

static void hear_counts(struct q2_diff *d, const struct q2_diff_table tables[2],
			const struct q2_diff_piece *piece, void *opaque)
{
	(void)opaque;
	for (size_t i = 0; i < piece->size && !d->failed; i += 8)
		if (memcmp(piece->bytes[0] + i, piece->bytes[1] + i, 8) != 0 ||
		    q2_diff_only_one(tables, piece->at + i))
			compare_counts(d, tables, piece, i);
}

static struct q2_diff_table block(const struct q2_diff *d, enum qcow2_diff_side side,
				  uint64_t offset)
{
	if (offset == 0)
		return (struct q2_diff_table){0};
	return q2_diff_table(d, side, offset, d->halves[side].geometry->cluster_size_bytes);
}

/* Compares the blocks that the entries of a piece of both tables lead to. */
static void hear_table(struct q2_diff *d, const struct q2_diff_table tables[2],
		       const struct q2_diff_piece *piece, void *opaque)
{
	(void)tables;
	(void)opaque;
	q2_diff_outer(d, piece);
	for (size_t i = 0; i < piece->size && !d->failed; i += 8) {
		uint64_t entries[2] = {q2_diff_outer_entry(d, QCOW2_DIFF_A, i),
				       q2_diff_outer_entry(d, QCOW2_DIFF_B, i)};
		uint64_t a = qcow2_refcount_table_entry_decode(entries[0]).offset;
		uint64_t b = qcow2_refcount_table_entry_decode(entries[1]).offset;
		const struct q2_diff_table blocks[2] = {block(d, QCOW2_DIFF_A, a),
							block(d, QCOW2_DIFF_B, b)};
		char path[40];
		const struct q2_diff_kind kind = {.path = path,
						  .table = QCOW2_DIFF_REFCOUNTS,
						  .words = 1,
						  .index = (piece->at + i) / 8};

		if ((a == 0 && b == 0) || q2_diff_compared(d, QCOW2_DIFF_REFCOUNTS, blocks))
			continue;
		snprintf(path, sizeof(path), "refcounts/%" PRIu64, kind.index);
		q2_diff_run_begin(d, &kind);
		q2_diff_read(d, blocks, false, hear_counts, NULL);
		q2_diff_run_end(d);
	}
}

void q2_diff_refcounts(struct q2_diff *d)
{
	const struct q2_diff_kind kind = {
		.path = "refcount_table", .table = QCOW2_DIFF_REFCOUNT_TABLE, .words = 1};
	unsigned bits[2] = {d->halves[0].geometry->refcount_bits,
			    d->halves[1].geometry->refcount_bits};
	struct q2_diff_table tables[2];
	char reason[128];

	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++) {
		const struct qcow2_header *header = qcow2_image_header(d->halves[side].image);

		tables[side] = q2_diff_table(d, side, header->refcount_table_offset,
					     (uint64_t)header->refcount_table_clusters
						     << d->halves[side].geometry->cluster_bits);
	}
	q2_diff_words(d, tables, &kind);
	if (bits[0] == bits[1]) {
		q2_diff_read(d, tables, true, hear_table, NULL);
		return;
	}
	snprintf(reason, sizeof(reason), "refcounts have %u bits and %u bits", bits[0], bits[1]);
	q2_diff_tell_gap(d, "refcounts", true, reason);
}
