/* SPDX-License-Identifier: MIT */
/*
 * The copied flag of active L1 and L2 entries: set if and only if the refcount is 1 ("Cluster
 * mapping"). Tables of snapshots alone are left as they are, since their flags mean nothing. Tables
 * that share their cluster with something else are, too: a flag there would be somebody's data.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/l2_table.h"
#include "repair/refcounts/refcounts.h"

#include <qcow2/entry.h>

#define COPIED    QCOW2_ENTRY_MASK(l2_entry, copied)
#define L1_OFFSET QCOW2_ENTRY_MASK(l1_entry, offset)
/* An L1 table is read in pieces of so many bytes, or of a cluster. */
#define PIECE_BYTES UINT64_C(65536)

_Static_assert(COPIED == QCOW2_ENTRY_MASK(l1_entry, copied), "one flag in both tables");

struct flags {
	struct q2_recount *r;
	bool may_set, may_clear, may_clear_compressed;
	uint8_t *bytes; /* a piece of a table */
	bool changed;   /* something in it */
};

/* Of 64 clusters, those that active entries without the flag were the first to refer to. */
static uint64_t unflagged(const uint64_t *uses)
{
	return (uses[0] & uses[1] & ~uses[2]) | (~uses[0] & uses[1] & uses[2]);
}

static bool is_odd(const struct q2_recount *r, uint64_t cluster)
{
	struct q2_cluster_state state = q2_clusters_get(r->clusters, cluster);

	return (state.count == 1 && (state.flags & Q2_SEEN_SHARED)) ||
	       (state.count != 1 && (state.flags & Q2_SEEN_COPIED));
}

/* Whether any entry that leads to a cluster of the chunk may have the wrong flag. */
static bool chunk_is_odd(const struct q2_recount *r, const struct q2_cluster_chunk *chunk,
			 uint64_t first)
{
	for (uint64_t group = 0; group < Q2_CHUNK_GROUPS; group++) {
		const uint64_t *uses = chunk->uses[group];
		uint64_t bits =
			chunk->few || chunk->many ? uses[0] | uses[1] | uses[2] : unflagged(uses);

		for (; bits != 0; bits &= bits - 1)
			if (is_odd(r, first + group * 64 + (unsigned)__builtin_ctzll(bits)))
				return true;
	}
	return false;
}

/* Most images need no flag changed, and the counts know that without the tables. */
static bool any_is_odd(const struct q2_recount *r)
{
	if (r->restricted)
		return true;
	for (uint64_t i = 0; i < r->clusters->leaf_count; i++) {
		const struct q2_cluster_leaf *leaf = r->clusters->leaves[i];

		for (uint64_t j = 0; leaf && j < Q2_LEAF_CHUNKS; j++)
			if (leaf->chunks[j] &&
			    chunk_is_odd(r, leaf->chunks[j],
					 (i * Q2_LEAF_CHUNKS + j) * Q2_CHUNK_CLUSTERS))
				return true;
	}
	return false;
}

/* The entry with its flag as it should be. end is behind the clusters it leads to. */
static uint64_t with_flag(struct flags *f, uint64_t entry, uint64_t first, uint64_t end)
{
	struct q2_recount *r = f->r;
	bool single = true, has = (entry & COPIED) != 0, touched = false;
	enum qcow2_problem_id id;

	for (uint64_t i = first; i < end; i++) {
		uint64_t count = q2_references_of(r->counted, i);

		single &= count == 1;
		touched |= r->restricted && q2_bits_has(&r->changed, i);
		if (count > r->most)
			return entry;
	}
	/* An entry that starts inside of a cluster gets no flag. */
	if (single == has || (single && end - first > 1))
		return entry;
	if (!touched && !(single ? f->may_set : f->may_clear))
		return entry;
	id = single ? QCOW2_PROBLEM_COPIED_CLEAR : QCOW2_PROBLEM_COPIED_SET;
	q2_recount_note(r, id, first);
	f->changed = true;
	return entry ^ COPIED;
}

/* As above, for an entry of an active L2 table. */
static uint64_t fix_l2_entry(struct flags *f, const struct q2_l2_ref *ref, uint64_t entry)
{
	const struct qcow2_geometry *geometry = f->r->repair->geometry;
	struct qcow2_claim claim;
	uint64_t end;

	if (qcow2_l2_is_compressed(entry)) {
		if (!(entry & COPIED) || !f->may_clear_compressed)
			return entry;
		q2_recount_note(f->r, QCOW2_PROBLEM_COMPRESSED_COPIED,
				ref->offset_bytes >> f->r->cluster_bits);
		f->changed = true;
		return entry & ~COPIED;
	}
	if (!q2_l2_claim(geometry, ref, entry, &claim) ||
	    q2_add_u64(claim.offset_bytes, claim.length_bytes - 1, &end) ||
	    claim.offset_bytes >= geometry->file_size_bytes)
		return entry;
	return with_flag(f, entry, claim.offset_bytes >> f->r->cluster_bits,
			 (end >> f->r->cluster_bits) + 1);
}

/* Whether a cluster is used for two things that may not share it. */
static bool is_contested(const struct q2_recount *r, uint64_t first, uint64_t end)
{
	for (; first < end; first++)
		if (first >= r->clusters->cluster_count ||
		    (q2_clusters_get(r->clusters, first).flags & Q2_SEEN_CONFLICT))
			return true;
	return false;
}

static int plan_table(struct flags *f, uint64_t offset, size_t size)
{
	if (!f->changed)
		return 0;
	return q2_repair_write(f->r->repair, QCOW2_PHASE_POINT, offset,
			       (struct qcow2_bytes){f->bytes, size},
			       "copied flags as refcounts are");
}

static int fix_l2_table(struct flags *f, const struct q2_l2_ref *ref)
{
	const struct qcow2_geometry *geometry = f->r->repair->geometry;
	uint64_t cluster = ref->offset_bytes >> f->r->cluster_bits;
	uint64_t size = geometry->file_size_bytes - ref->offset_bytes;
	unsigned width = geometry->l2_entry_bytes;

	if (size > f->r->cluster_size)
		size = f->r->cluster_size;
	if (ref->active == 0 || ref->offset_bytes % f->r->cluster_size != 0 ||
	    is_contested(f->r, cluster, cluster + 1))
		return 0;
	if (q2_plan_read(f->r->repair->plan, ref->offset_bytes, f->bytes, (size_t)size,
			 f->r->repair->err))
		return -1;
	f->changed = false;
	for (uint64_t i = 0; (i + 1) * width <= size; i++) {
		uint64_t entry = q2_l2_entry_at(f->bytes, i, width);

		if (entry != 0)
			q2_store_be64(f->bytes + i * width, fix_l2_entry(f, ref, entry));
	}
	return plan_table(f, ref->offset_bytes, (size_t)size);
}

static int fix_l1_piece(struct flags *f, uint64_t offset, size_t size)
{
	const struct q2_recount *r = f->r;

	if (is_contested(r, offset >> r->cluster_bits,
			 ((offset + size - 1) >> r->cluster_bits) + 1))
		return 0;
	if (q2_plan_read(r->repair->plan, offset, f->bytes, size, r->repair->err))
		return -1;
	f->changed = false;
	for (uint64_t i = 0; i < size / 8; i++) {
		uint64_t entry = q2_load_be64(f->bytes + i * 8), at = entry & L1_OFFSET;

		if (at == 0 || at >= r->repair->geometry->file_size_bytes)
			continue;
		entry = with_flag(f, entry, at >> r->cluster_bits,
				  ((at + r->cluster_size - 1) >> r->cluster_bits) + 1);
		q2_store_be64(f->bytes + i * 8, entry);
	}
	return plan_table(f, offset, size);
}

static int fix_l1(struct flags *f)
{
	const struct qcow2_header *header = f->r->repair->header;
	const struct qcow2_source *view = f->r->repair->view;
	uint64_t start = header->l1_table_offset, size = header->l1_size * UINT64_C(8);
	uint64_t file = f->r->repair->geometry->file_size_bytes;

	if (start == 0 || start >= file)
		return 0;
	if (size > file - start)
		size = (file - start) & ~UINT64_C(7);
	for (uint64_t at = 0; at < size; at += PIECE_BYTES) {
		uint64_t here = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;

		if (qcow2_source_hole_end(view, start + at) - (start + at) >= here)
			continue;
		if (fix_l1_piece(f, start + at, (size_t)here))
			return -1;
	}
	return 0;
}

int q2_recount_plan_flags(struct q2_recount *r)
{
	struct q2_repair *repair = r->repair;
	struct flags f = {.r = r};
	bool compressed = repair->found->by_kind[QCOW2_PROBLEM_COMPRESSED_COPIED] > 0;
	int failed;

	if (!compressed && !any_is_odd(r))
		return 0;
	f.may_set = q2_repair_may(repair, QCOW2_PROBLEM_COPIED_CLEAR, false);
	f.may_clear = q2_repair_may(repair, QCOW2_PROBLEM_COPIED_SET, false);
	f.may_clear_compressed =
		compressed && q2_repair_may(repair, QCOW2_PROBLEM_COMPRESSED_COPIED, false);
	f.bytes = q2_alloc_buffer(
		(size_t)(r->cluster_size > PIECE_BYTES ? r->cluster_size : PIECE_BYTES));
	if (!f.bytes)
		return q2_fail_memory(repair->err);
	failed = fix_l1(&f);
	for (size_t i = 0; i < r->counted->table_count && !failed; i++)
		failed = fix_l2_table(&f, &r->counted->tables[i]);
	q2_free(f.bytes);
	return failed;
}
