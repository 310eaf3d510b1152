/* SPDX-License-Identifier: MIT */
/*
 * Data behind the last cluster that is in use. The refcounts say which that is; they are read from
 * the end of the file on, so that a sound image costs two short reads. What is all zeros may be
 * preallocated, and what remains of tables was freed: both count as nothing.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/system.h"
#include "vet/remains.h"

#include <qcow2/entry.h>
#include <qcow2/limits.h>

/* Refcounts are read in pieces of this size, from the end of their block. */
#define PIECE_BYTES   4096
#define PIECE_ENTRIES (PIECE_BYTES / 8)
/* The most pieces that are read: those of 64 blocks of 64 KiB. */
#define PIECES_MOST 1024
/* How much behind the last cluster is read to find anything but zeros, and at least. */
#define LOOK_BYTES    (UINT64_C(1) << 20)
#define LOOK_CLUSTERS 16

struct search {
	struct q2_vet *vet;
	unsigned refcount_bits;
	unsigned pieces;
	uint8_t piece[PIECE_BYTES];
	bool found;
	uint64_t cluster; /* the last one in use, if found */
	uint8_t *buffer;  /* for a cluster behind it */
	uint64_t remains; /* clusters behind it that hold what remains of tables */
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

/* Reads the piece of the refcount table that ends with entry i, as far as the file has it. */
static int read_entries(struct search *search, uint64_t i, uint8_t *piece)
{
	struct q2_vet *vet = search->vet;
	uint64_t at = vet->header->refcount_table_offset, first = i - i % PIECE_ENTRIES;
	size_t size = (size_t)(i - first + 1) * 8;

	memset(piece, 0, PIECE_BYTES);
	if (!q2_range_fits(at, (i + 1) * 8, vet->result.file_size_bytes))
		return 0; /* the rules of the header say so */
	return qcow2_source_read(vet->source, at + first * 8, piece, size, vet->err);
}

/* Finds the last cluster of the file with a refcount. */
static int search_refcounts(struct search *search)
{
	struct q2_vet *vet = search->vet;
	const struct qcow2_geometry *g = vet->geometry;
	uint64_t clusters = q2_div_ceil_u64(vet->result.file_size_bytes, g->cluster_size_bytes);
	uint64_t entries = vet->header->refcount_table_clusters * (g->cluster_size_bytes / 8);
	uint64_t i = q2_div_ceil_u64(clusters, g->refcount_block_entries), block, first;
	uint8_t piece[PIECE_BYTES];
	bool has_piece = false;

	/* Blocks that QEMU does not read are those of a table that it does not read. */
	if (i > entries)
		i = entries;
	if (i > QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES / 8)
		i = QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES / 8;
	while (i-- > 0 && !search->found && search->pieces < PIECES_MOST) {
		if (!has_piece || i % PIECE_ENTRIES == PIECE_ENTRIES - 1) {
			if (read_entries(search, i, piece))
				return -1;
			has_piece = true;
		}
		block = q2_load_be64(piece + i % PIECE_ENTRIES * 8) &
			QCOW2_ENTRY_MASK(refcount_table_entry, offset);
		if (block == 0)
			continue;
		first = i * g->refcount_block_entries;
		if (clusters - first > g->refcount_block_entries)
			clusters = first + g->refcount_block_entries;
		if (search_block(search, block, first, clusters - first))
			return -1;
	}
	return 0;
}

static uint64_t clusters_to_look_at(const struct q2_vet *vet)
{
	uint64_t clusters = LOOK_BYTES / vet->geometry->cluster_size_bytes;

	return clusters > LOOK_CLUSTERS ? clusters : LOOK_CLUSTERS;
}

/* Finds anything but zeros in bytes at an offset of the file. */
static bool find_byte(struct qcow2_bytes bytes, uint64_t offset, uint64_t *at)
{
	for (size_t i = 0; i < bytes.size; i++) {
		*at = offset + i;
		if (bytes.data[i] != 0)
			return true;
	}
	return false;
}

/* Reads bytes, which of a stream may be kept with its last ones or not at all. */
static int read_behind(struct search *search, uint64_t at, size_t size)
{
	struct q2_vet *vet = search->vet;
	uint64_t tail_at = vet->result.file_size_bytes - vet->tail.size;

	if (!vet->kept)
		return qcow2_source_read(vet->source, at, search->buffer, size, vet->err);
	memset(search->buffer, 0, size);
	if (at >= vet->kept->nonzero_end)
		return 0;
	if (size > vet->kept->nonzero_end - at)
		size = (size_t)(vet->kept->nonzero_end - at);
	if (at >= tail_at)
		memcpy(search->buffer, vet->tail.data + (at - tail_at), size);
	else if (q2_kept_has(vet->kept, at, size))
		return qcow2_source_read(vet->source, at, search->buffer, size, vet->err);
	else
		return q2_fail_errno(vet->err, Q2_ENODATA, at, "the stream has passed it");
	return 0;
}

/* Looks at the cluster at an offset, or at what the file has of it. */
static int look_at_cluster(struct search *search, uint64_t offset, bool *found, uint64_t *at)
{
	const struct q2_vet *vet = search->vet;
	struct qcow2_bytes bytes = {search->buffer, (size_t)vet->geometry->cluster_size_bytes};

	if (bytes.size > vet->result.file_size_bytes - offset)
		bytes.size = (size_t)(vet->result.file_size_bytes - offset);
	if (read_behind(search, offset, bytes.size))
		return -1;
	if (!find_byte(bytes, offset, at))
		return 0;
	*found = !q2_vet_is_old_table(vet, bytes);
	search->remains++;
	return 0;
}

/* Looks behind `begin` in a file: near there, and at the end. */
static int look_in_file(struct search *search, uint64_t begin, bool *found, uint64_t *at)
{
	struct q2_vet *vet = search->vet;
	uint64_t end = vet->result.file_size_bytes, cluster = vet->geometry->cluster_size_bytes;
	uint64_t next = begin, left = clusters_to_look_at(vet), tail = end - vet->tail.size;

	while (next < end && !*found) {
		next = qcow2_source_hole_end(vet->source, next);
		next -= next % cluster;
		if (left == 0 && next < tail)
			next = tail - tail % cluster;
		else if (left > 0)
			left--;
		if (next < end && look_at_cluster(search, next, found, at))
			return -1;
		next += cluster;
	}
	return 0;
}

/* Looks behind `begin` in a stream, of which the last bytes are known best. */
static int look_in_stream(struct search *search, uint64_t begin, bool *found, uint64_t *at)
{
	const struct q2_vet *vet = search->vet;
	uint64_t cluster = vet->geometry->cluster_size_bytes, end = vet->kept->nonzero_end;

	while (end > begin && !*found && search->remains < clusters_to_look_at(vet)) {
		end = (end - 1) - (end - 1) % cluster;
		if (look_at_cluster(search, end, found, at))
			return -1;
	}
	*found = *found || end > begin;
	return 0;
}

static int look_behind(struct search *search, uint64_t begin, bool *found, uint64_t *at)
{
	struct q2_vet *vet = search->vet;
	int result;

	if (vet->kept && vet->kept->nonzero_end <= begin)
		return 0;
	search->buffer = q2_alloc_buffer((size_t)vet->geometry->cluster_size_bytes);
	if (!search->buffer)
		return q2_fail_memory(vet->err);
	result = vet->kept ? look_in_stream(search, begin, found, at)
			   : look_in_file(search, begin, found, at);
	q2_free(search->buffer);
	return result;
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
	if (begin < end && look_behind(&search, begin, &found, &at))
		return -1;
	if (found)
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_TRAILING_DATA,
						     .offset_bytes = at,
						     .value = end - begin},
			    "file");
	return 0;
}
