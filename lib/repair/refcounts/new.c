/* SPDX-License-Identifier: MIT */
/*
 * Makes refcount blocks and a refcount table anew, in free space, until what is new is counted
 * itself; and plans the table.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "repair/refcounts/refcounts.h"

#include <qcow2/entry.h>

#define OFFSET QCOW2_ENTRY_MASK(refcount_table_entry, offset)
/* Bytes of the table that are planned as one write. */
#define PIECE_ENTRIES UINT64_C(8192)
/* In the header: refcount_table_offset and, side by side with it, refcount_table_clusters. */
#define HEADER_TABLE_AT    offsetof(struct qcow2_header, refcount_table_offset)
#define HEADER_TABLE_BYTES (offsetof(struct qcow2_header, nb_snapshots) - HEADER_TABLE_AT)

/* Takes back what the old table claims, unless it stays: that part is counted in any case. */
static void settle_table(struct q2_recount *r)
{
	const struct qcow2_header *header = r->repair->header;
	uint64_t bytes = (uint64_t)header->refcount_table_clusters << r->cluster_bits;
	uint64_t end = header->refcount_table_offset + bytes + r->cluster_size - 1;
	uint64_t first = header->refcount_table_offset >> r->cluster_bits;
	bool counted = r->counted->table_counted &&
		       q2_recount_is_inside(r, header->refcount_table_offset, bytes);

	if (!r->table_moves && !counted)
		q2_clusters_mark(r->clusters, first, r->table_clusters, QCOW2_USE_METADATA, 1);
	if (!r->table_moves)
		first += r->table_clusters;
	for (; counted && first < end >> r->cluster_bits; first++)
		q2_clusters_drop(r->clusters, first);
}

/* The same for blocks. */
static void settle_block(struct q2_recount *r, uint64_t index)
{
	struct q2_block_entry *entry = &r->entries[index];
	uint64_t cluster = (entry->word & OFFSET) >> r->cluster_bits;

	if (entry->state == Q2_BLOCK_KEPT && !entry->counted)
		q2_clusters_mark(r->clusters, cluster, 1, QCOW2_USE_METADATA, 1);
	if (entry->state != Q2_BLOCK_NONE || !entry->fault)
		return;
	if (entry->counted)
		q2_clusters_drop(r->clusters, cluster);
	entry->word &= ~OFFSET;
	r->repair->refcounts_moved = true;
	q2_recount_note(r, entry->fault, index);
}

/* Takes clusters side by side and counts them. Errors as q2_space_take(). */
static int take(struct q2_recount *r, uint64_t count, uint64_t *offset)
{
	uint64_t first;

	if (q2_space_take(r->repair, count, offset))
		return -1;
	first = *offset >> r->cluster_bits;
	if (!q2_clusters_extend(r->clusters, first + count + 1))
		return q2_memory_fail(&r->counted->memory, r->repair->err);
	q2_clusters_mark(r->clusters, first, count, QCOW2_USE_METADATA, 1);
	return r->clusters->failed ? q2_memory_fail(&r->counted->memory, r->repair->err) : 0;
}

static uint64_t chunk_uses(const struct q2_cluster_chunk *chunk, uint64_t group)
{
	return chunk->uses[group][0] | chunk->uses[group][1] | chunk->uses[group][2];
}

bool q2_recount_is_free(const struct q2_recount *r, uint64_t first, uint64_t count)
{
	uint64_t at = first, end = first + count;

	while (at < end && at < r->clusters->cluster_count) {
		const struct q2_cluster_chunk *chunk = q2_clusters_chunk(r->clusters, at);

		if (chunk && chunk_uses(chunk, at / 64 % Q2_CHUNK_GROUPS))
			return false;
		at += chunk ? 64 : Q2_CHUNK_CLUSTERS - at % Q2_CHUNK_CLUSTERS;
	}
	return true;
}

bool q2_recount_is_lost(const struct q2_recount *r, uint64_t index)
{
	const struct q2_block_entry *entry = &r->entries[index];

	if (entry->state != Q2_BLOCK_NONE)
		return false;
	/* Behind what was ever used, a device holds anything. */
	return entry->fault || !q2_source_has_fixed_size(r->repair->plan->source) ||
	       !q2_recount_is_free(r, index * r->per_block, r->per_block);
}

/*
 * Finds the first entry from *index on that has no block but has clusters to count. False if there
 * is none.
 */
static bool find_lack(const struct q2_recount *r, uint64_t *index)
{
	uint64_t end = r->clusters->cluster_count / r->per_block + 1;

	for (; *index < end; ++*index) {
		if (*index < Q2_TABLE_ENTRIES_MOST && r->entries[*index].state != Q2_BLOCK_NONE)
			continue;
		if (!q2_recount_is_free(r, *index * r->per_block, r->per_block))
			return true;
	}
	return false;
}

/* Gives every cluster a block: new blocks may be counted in blocks that are not there yet. */
static int add_blocks(struct q2_recount *r, bool *added)
{
	bool again = true;

	*added = false;
	while (again) {
		again = false;
		for (uint64_t i = 0; find_lack(r, &i); i++) {
			struct q2_block_entry *entry;
			uint64_t offset;

			if (i >= Q2_TABLE_ENTRIES_MOST)
				return q2_fail(r->repair->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
					       "the refcount table would have to be larger than "
					       "QEMU opens it");
			if (take(r, 1, &offset))
				return -1;
			entry = &r->entries[i];
			entry->word |= offset;
			entry->state = Q2_BLOCK_NEW;
			if (i >= r->entries_end)
				r->entries_end = i + 1;
			again = *added = true;
		}
	}
	return 0;
}

uint64_t q2_recount_entries(const struct q2_recount *r)
{
	uint64_t count = r->entries_end;

	while (count > 0 && r->entries[count - 1].word == 0)
		count--;
	return count;
}

/* Takes a table with room for half as many entries more, so that the file can grow. */
static int take_table(struct q2_recount *r)
{
	uint64_t entries = q2_recount_entries(r);
	uint64_t first = r->table_offset >> r->cluster_bits;

	/* One that was taken before, or is too small. */
	for (uint64_t i = 0; r->table_offset && !r->table_fault && i < r->table_clusters; i++)
		q2_clusters_drop(r->clusters, first + i);
	r->table_fault = 0;
	r->table_moves = true;
	entries += entries / 2 + 1;
	if (entries > Q2_TABLE_ENTRIES_MOST)
		entries = Q2_TABLE_ENTRIES_MOST;
	r->table_clusters = q2_div_ceil_u64(entries * 8, r->cluster_size);
	return take(r, r->table_clusters, &r->table_offset);
}

static int complete(struct q2_recount *r)
{
	bool added = true, wanted = r->table_moves;

	while (added) {
		if (add_blocks(r, &added))
			return -1;
		if (!wanted && q2_recount_entries(r) <= r->table_clusters * (r->cluster_size / 8))
			return 0;
		wanted = false;
		if (take_table(r))
			return -1;
		added = true;
	}
	return 0;
}

/* Why what is wrong is left, if there is no place for what is new. */
static void leave_all(struct q2_recount *r, const char *why)
{
	static const enum qcow2_problem_id ids[] = {
		QCOW2_PROBLEM_REFTABLE_MISSING,    QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED,
		QCOW2_PROBLEM_REFTABLE_BEYOND_END, QCOW2_PROBLEM_REFBLOCK_UNALIGNED,
		QCOW2_PROBLEM_REFBLOCK_BEYOND_END, QCOW2_PROBLEM_REFCOUNT_LOW,
		QCOW2_PROBLEM_REFCOUNT_HIGH,       QCOW2_PROBLEM_COPIED_SET,
		QCOW2_PROBLEM_COPIED_CLEAR,
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		q2_repair_leave(r->repair, ids[i], "%s", why);
}

void q2_recount_settle(struct q2_recount *r)
{
	settle_table(r);
	for (uint64_t i = 0; i < r->entries_end; i++)
		settle_block(r, i);
	if (r->table_fault) {
		r->repair->refcounts_moved = true;
		q2_recount_note(r, r->table_fault, 0);
	}
}

int q2_recount_complete(struct q2_recount *r, bool *possible)
{
	*possible = true;
	if (complete(r) == 0)
		return 0;
	if (r->repair->err->code != QCOW2_ERROR_LIMIT || r->counted->memory.limited)
		return -1;
	leave_all(r, r->repair->err->text);
	*possible = false;
	return 0;
}

static int plan_pointer(struct q2_recount *r)
{
	const struct qcow2_header place = {
		.version = 3,
		.refcount_table_offset = r->table_offset,
		.refcount_table_clusters = (uint32_t)r->table_clusters,
	};
	uint8_t header[sizeof(struct qcow2_header)];

	const struct qcow2_bytes bytes = {header + HEADER_TABLE_AT, HEADER_TABLE_BYTES};
	/* Who wrote the header as a whole, in a later phase, wrote the old place. */
	bool again = q2_plan_touches(r->repair->plan, HEADER_TABLE_AT, HEADER_TABLE_BYTES);

	qcow2_header_encode(&place, header, sizeof(header));
	if (q2_repair_write(r->repair, QCOW2_PHASE_COUNT, HEADER_TABLE_AT, bytes,
			    "where the refcount table is"))
		return -1;
	return again ? q2_repair_write(r->repair, QCOW2_PHASE_POINT, HEADER_TABLE_AT, bytes,
				       "where the refcount table is")
		     : 0;
}

static int plan_piece(struct q2_recount *r, uint64_t first, uint64_t count)
{
	uint8_t bytes[PIECE_ENTRIES * 8];

	for (uint64_t i = 0; i < count; i++)
		q2_store_be64(bytes + i * 8, r->entries[first + i].word);
	return q2_repair_write(
		r->repair, r->table_moves ? QCOW2_PHASE_NEW : QCOW2_PHASE_COUNT,
		r->table_offset + first * 8, (struct qcow2_bytes){bytes, (size_t)count * 8},
		r->table_moves ? "a new refcount table" : "where refcount blocks are");
}

/* An old table may be all hole: only what has entries, or had some, is compared. */
int q2_recount_plan_table(struct q2_recount *r)
{
	const struct qcow2_source *view = r->repair->view;
	uint64_t entries = r->table_clusters * (r->cluster_size / 8);

	if (entries > Q2_TABLE_ENTRIES_MOST)
		entries = Q2_TABLE_ENTRIES_MOST;
	for (uint64_t first = 0; first < entries; first += PIECE_ENTRIES) {
		uint64_t count = entries - first < PIECE_ENTRIES ? entries - first : PIECE_ENTRIES;
		uint64_t at = r->table_offset + first * 8;
		bool empty = true;

		for (uint64_t i = 0; i < count && empty; i++)
			empty = r->entries[first + i].word == 0;
		if (empty && !r->table_moves && at < qcow2_source_size_bytes(view) &&
		    qcow2_source_hole_end(view, at) - at >= count * 8)
			continue;
		if (plan_piece(r, first, count))
			return -1;
	}
	return plan_pointer(r);
}
