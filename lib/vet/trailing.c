/* SPDX-License-Identifier: MIT */
/*
 * Data behind the last cluster that is in use. The refcounts say which that is; they are read from
 * the end of the file on, so that a sound image costs two short reads. What is all zeros may be
 * preallocated, and counts as nothing.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "vet/vet.h"

#include <qcow2/entry.h>

/* Refcounts are read in pieces of this size, from the end of their block. */
#define PIECE_BYTES 4096
/* The most pieces that are read: those of 64 blocks of 64 KiB. */
#define PIECES_MOST 1024
/* How much behind the last cluster is read to find anything but zeros. */
#define LOOK_BYTES (UINT64_C(1) << 20)

struct search {
	struct q2_vet *vet;
	unsigned refcount_bits;
	unsigned pieces;
	uint8_t piece[PIECE_BYTES];
	bool found;
	uint64_t cluster; /* the last one in use, if found */
};

/* The index of the last refcount that is not 0 in the first size bytes of the piece. */
static bool find_in_piece(const struct search *search, size_t size, uint64_t *index)
{
	unsigned bits = search->refcount_bits, top;

	while (size > 0 && search->piece[size - 1] == 0)
		size--;
	if (size == 0)
		return false;
	if (bits >= 8) {
		*index = (size - 1) / (bits / 8);
		return true;
	}
	top = 31 - (unsigned)__builtin_clz(search->piece[size - 1]);
	*index = (size - 1) * (8 / bits) + top / bits;
	return true;
}

/* Looks at the first `entries` refcounts of the block at `block`, whose first is of `cluster`. */
static int search_block(struct search *search, uint64_t block, uint64_t cluster, uint64_t entries)
{
	struct q2_vet *vet = search->vet;
	uint64_t left = q2_div_ceil_u64(entries * search->refcount_bits, 8), index, at;
	size_t size;

	if (block % vet->geometry->cluster_size_bytes != 0 ||
	    !q2_range_fits(block, left, vet->result.file_size_bytes))
		return 0; /* the check says so */
	while (left > 0 && search->pieces++ < PIECES_MOST) {
		at = (left - 1) / PIECE_BYTES * PIECE_BYTES;
		size = (size_t)(left - at);
		if (qcow2_source_read(vet->source, block + at, search->piece, size, vet->err))
			return -1;
		if (find_in_piece(search, size, &index)) {
			search->found = true;
			search->cluster = cluster + at * 8 / search->refcount_bits + index;
			return 0;
		}
		left = at;
	}
	return 0;
}

/* Finds the last cluster of the file with a refcount. */
static int search_refcounts(struct search *search)
{
	struct q2_vet *vet = search->vet;
	const struct qcow2_geometry *g = vet->geometry;
	uint64_t clusters = q2_div_ceil_u64(vet->result.file_size_bytes, g->cluster_size_bytes);
	uint64_t table = vet->header->refcount_table_offset, block, first;
	uint64_t entries = vet->header->refcount_table_clusters * (g->cluster_size_bytes / 8);
	uint8_t entry[8];

	for (uint64_t i = (clusters - 1) / g->refcount_block_entries + 1; i-- > 0;) {
		first = i * g->refcount_block_entries;
		if (search->found || search->pieces >= PIECES_MOST)
			break;
		search->pieces++;
		if (i >= entries || !q2_range_fits(table, i * 8 + 8, vet->result.file_size_bytes))
			continue;
		if (qcow2_source_read(vet->source, table + i * 8, entry, sizeof(entry), vet->err))
			return -1;
		block = q2_load_be64(entry) & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
		if (block == 0)
			continue;
		if (clusters - first > g->refcount_block_entries)
			clusters = first + g->refcount_block_entries;
		if (search_block(search, block, first, clusters - first))
			return -1;
	}
	return 0;
}

static bool find_byte(const uint8_t *bytes, size_t size, size_t *at)
{
	for (*at = 0; *at < size; ++*at)
		if (bytes[*at] != 0)
			return true;
	return false;
}

/* Finds anything but zeros from `begin` on, near there or at the end of the file. */
static int look_behind(struct search *search, uint64_t begin, bool *found, uint64_t *at)
{
	struct q2_vet *vet = search->vet;
	uint64_t end = vet->result.file_size_bytes, left = LOOK_BYTES, next = begin, tail;
	size_t size, byte;

	while (left > 0 && next < end) {
		*at = next;
		next = qcow2_source_hole_end(vet->source, *at);
		if (next > *at)
			continue;
		size = end - next < PIECE_BYTES ? (size_t)(end - next) : PIECE_BYTES;
		if (qcow2_source_read(vet->source, next, search->piece, size, vet->err))
			return -1;
		*found = find_byte(search->piece, size, &byte);
		*at = next + byte;
		if (*found)
			return 0;
		next += size;
		left -= size < left ? size : left;
	}
	tail = end - vet->tail.size;
	byte = begin > tail ? (size_t)(begin - tail) : 0;
	*found = find_byte(vet->tail.data + byte, vet->tail.size - byte, &size);
	*at = tail + byte + size;
	return 0;
}

int q2_vet_trailing(struct q2_vet *vet)
{
	struct search search = {.vet = vet, .refcount_bits = vet->geometry->refcount_bits};
	uint64_t begin, end = vet->result.file_size_bytes, at = 0;
	bool found = false;

	/* With the dirty bit, refcounts may be behind. */
	if (!q2_vet_passes(vet, QCOW2_VET_RULE_TRAILING_DATA, end) ||
	    (vet->header->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY))
		return 0;
	if (search_refcounts(&search))
		return -1;
	begin = ((search.found ? search.cluster : 0) + 1) << vet->geometry->cluster_bits;
	if (begin >= end)
		return 0;
	if (vet->kept) { /* of a stream it is known where its last byte is */
		found = vet->kept->nonzero_end > begin;
		at = vet->kept->nonzero_end - 1;
	} else if (look_behind(&search, begin, &found, &at)) {
		return -1;
	}
	if (found)
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_TRAILING_DATA,
						     .offset_bytes = at,
						     .value = end - begin},
			    "file");
	return 0;
}
