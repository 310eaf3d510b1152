/* SPDX-License-Identifier: MIT */
/*
 * Reads the refcount table, and judges where it and its blocks are. A block stays if it lies in a
 * cluster of its own.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "claims/metadata.h"
#include "repair/refcounts/refcounts.h"

#include <qcow2/entry.h>

#include <string.h>

#include "base/alloc.h"

#define OFFSET QCOW2_ENTRY_MASK(refcount_table_entry, offset)

static int hear_entry(void *opaque, const struct q2_entry_place *place, uint64_t entry)
{
	struct q2_recount *r = opaque;

	if (place->index >= Q2_TABLE_ENTRIES_MOST || entry == 0)
		return 0;
	r->entries[place->index].word = entry;
	if (place->index >= r->entries_end)
		r->entries_end = place->index + 1;
	return 0;
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct q2_recount *r = opaque;
	bool counted = r->heard++ < r->counted->blocks_counted;

	if (claim->index < Q2_TABLE_ENTRIES_MOST)
		r->entries[claim->index].counted = counted;
	else if (counted && r->table_clusters < r->repair->header->refcount_table_clusters)
		q2_clusters_drop(r->clusters, claim->offset_bytes >> r->cluster_bits);
	return 0;
}

static int read_entries(struct q2_recount *r)
{
	const struct q2_listener listener = {
		.opaque = r, .claim = hear_claim, .refcount_table_entry = hear_entry};
	struct q2_metadata metadata;
	int failed;

	q2_metadata_init(&metadata, r->repair->image, &r->counted->memory, r->repair->err);
	metadata.buffer = q2_alloc_buffer(Q2_PIECE_BYTES + (size_t)r->cluster_size);
	if (!metadata.buffer)
		return q2_fail_memory(r->repair->err);
	failed = q2_metadata_visit_refcount_table(&metadata, &listener);
	q2_free(metadata.buffer);
	q2_metadata_release(&metadata);
	return failed;
}

bool q2_recount_is_inside(const struct q2_recount *r, uint64_t offset, uint64_t size)
{
	uint64_t end, file = r->repair->geometry->file_size_bytes;

	return size > 0 && !q2_add_u64(offset, size, &end) &&
	       (end <= file || end - file < r->cluster_size);
}

/* Whether the clusters of the table are used for something else as well. */
static bool table_is_shared(const struct q2_recount *r)
{
	const struct qcow2_header *header = r->repair->header;
	uint64_t first = header->refcount_table_offset >> r->cluster_bits;

	for (uint64_t i = 0; i < header->refcount_table_clusters; i++)
		if (q2_references_of(r->counted, first + i) > (r->counted->table_counted ? 1 : 0))
			return true;
	return false;
}

/* Why the table cannot stay where it is, or 0. Too large a table is made shorter. */
static void judge_table(struct q2_recount *r)
{
	const struct qcow2_header *header = r->repair->header;
	uint64_t bytes = (uint64_t)header->refcount_table_clusters << r->cluster_bits;

	r->table_offset = header->refcount_table_offset;
	r->table_clusters = header->refcount_table_clusters;
	r->table_trusted = true;
	if (r->table_offset == 0 || r->table_clusters == 0) {
		r->table_fault = QCOW2_PROBLEM_REFTABLE_MISSING;
	} else if (r->table_offset % r->cluster_size) {
		r->table_fault = QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED;
	} else if (bytes > QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES) {
		/* The part that stays has to be there. */
		bytes = QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES;
		if (!q2_recount_is_inside(r, r->table_offset, bytes))
			r->table_fault = QCOW2_PROBLEM_REFTABLE_BEYOND_END;
		else if (q2_repair_may(r->repair, QCOW2_PROBLEM_REFTABLE_TOO_LARGE, false))
			r->table_clusters = bytes >> r->cluster_bits;
	} else if (!q2_recount_is_inside(r, r->table_offset, bytes)) {
		r->table_fault = QCOW2_PROBLEM_REFTABLE_BEYOND_END;
	}
	if (!r->table_fault && table_is_shared(r)) {
		r->table_fault = QCOW2_PROBLEM_CLUSTER_OWNERS;
		r->table_trusted = false;
	}
	r->table_moves = r->table_fault != 0;
}

/* What is wrong with the place of a block, or 0. */
static enum qcow2_problem_id fault_of(const struct q2_recount *r,
				      const struct q2_block_entry *entry)
{
	uint64_t offset = entry->word & OFFSET;

	if (offset % r->cluster_size)
		return QCOW2_PROBLEM_REFBLOCK_UNALIGNED;
	if (offset >= r->repair->geometry->file_size_bytes)
		return QCOW2_PROBLEM_REFBLOCK_BEYOND_END;
	if (!r->table_trusted ||
	    q2_references_of(r->counted, offset >> r->cluster_bits) > (entry->counted ? 1 : 0))
		return QCOW2_PROBLEM_CLUSTER_OWNERS;
	return 0;
}

static void judge_entry(struct q2_recount *r, uint64_t index)
{
	struct q2_block_entry *entry = &r->entries[index];

	if ((entry->word & ~OFFSET) &&
	    q2_repair_may(r->repair, QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED, false)) {
		entry->word &= OFFSET;
		q2_recount_note(r, QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED, index);
	}
	if ((entry->word & OFFSET) == 0)
		return;
	entry->fault = (uint16_t)fault_of(r, entry);
	if (!entry->fault)
		entry->state = Q2_BLOCK_KEPT;
	else if (!q2_recount_may(r, entry->fault))
		entry->state = Q2_BLOCK_LEFT;
	else
		r->may_raise = true;
}

int q2_recount_read_table(struct q2_recount *r)
{
	r->entries = q2_alloc_array((size_t)Q2_TABLE_ENTRIES_MOST, sizeof(*r->entries));
	if (!r->entries)
		return q2_fail_memory(r->repair->err);
	judge_table(r);
	/* Blocks that are made anew have to count all that is there. */
	if (r->table_fault && q2_recount_may(r, r->table_fault))
		r->may_raise = true;
	if (read_entries(r))
		return -1;
	for (uint64_t i = 0; i < r->entries_end; i++)
		if (r->entries[i].word != 0)
			judge_entry(r, i);
	return 0;
}
