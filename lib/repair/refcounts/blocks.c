/* SPDX-License-Identifier: MIT */
/*
 * Compares refcount blocks with the counts, 64 clusters at a step, and plans those that differ. A
 * refcount that rises does so before anything new points to its cluster, one that falls does so
 * when nothing points there any more. In between, a block with both has the larger of each.
 */
#include "check/classify.h"
#include "repair/refcounts/refcounts.h"
#include "repair/result.h"

#include <qcow2/entry.h>

#include <string.h>

/* A piece of a block that is compared. */
struct piece {
	struct q2_recount *r;
	q2_classify classify;
	bool is_new;       /* of a block that is made anew */
	bool rises, falls; /* some of its refcounts do */
};

int q2_recount_read(struct q2_recount *r, uint64_t index, uint64_t at, size_t size)
{
	uint64_t offset = r->entries[index].word & QCOW2_ENTRY_MASK(refcount_table_entry, offset);

	return q2_plan_read(r->repair->plan, offset + at, r->old_bytes, size, r->repair->err);
}

/* Notes that a refcount changes. */
static void note_change(struct piece *p, uint64_t cluster, uint64_t old, uint64_t now)
{
	struct q2_recount *r = p->r;

	if (r->restricted)
		q2_bits_add(&r->changed, cluster);
	if (now > old) {
		p->rises = true;
		if (cluster < r->old_clusters)
			q2_recount_note(r, QCOW2_PROBLEM_REFCOUNT_LOW, cluster);
		return;
	}
	p->falls = true;
	if (cluster >= r->old_clusters) {
		q2_recount_note(r, QCOW2_PROBLEM_REFCOUNT_BEYOND_END, cluster);
		return;
	}
	q2_recount_note(r, QCOW2_PROBLEM_REFCOUNT_HIGH, cluster);
	r->repair->result->public.freed_clusters += now == 0;
}

/* What the refcount of a cluster shall be. */
static uint64_t wanted(struct q2_recount *r, uint64_t cluster, uint64_t old)
{
	uint64_t count = q2_references_of(r->counted, cluster);

	if (count > r->most) {
		q2_recount_note(r, QCOW2_PROBLEM_REFCOUNT_OVERFLOW, cluster);
		return r->most;
	}
	if (count == 0 && cluster >= r->old_clusters && !r->may_beyond)
		return old;
	return count;
}

/* Makes 64 refcounts 0 or 1. */
static void put_ones(struct q2_recount *r, uint64_t at, uint64_t ones)
{
	uint8_t *bytes = r->new_bytes + at * r->width / 8;
	unsigned step = r->width / 8;

	memset(bytes, 0, (size_t)r->width * 8);
	for (unsigned i = 0; step > 0 && i < 64; i++)
		bytes[i * step + step - 1] = ones >> i & 1;
	for (; step == 0 && ones != 0; ones &= ones - 1)
		qcow2_refcount_put(r->new_bytes, at + (unsigned)__builtin_ctzll(ones), r->width, 1);
}

/*
 * Puts 64 refcounts in order where all of them shall be 0 or 1 and may be: most are, and all may be
 * wrong. False if they have to be looked at one by one; then nothing is done.
 */
static bool fix_plain(struct piece *p, uint64_t cluster, uint64_t at)
{
	struct q2_recount *r = p->r;
	const struct q2_cluster_chunk *chunk = cluster < r->clusters->cluster_count
						       ? q2_clusters_chunk(r->clusters, cluster)
						       : NULL;
	struct q2_refcount_classes old = p->classify(r->old_bytes + at * r->width / 8);
	uint64_t seen = 0, low, high;

	if (chunk && (chunk->few || chunk->many))
		return false;
	if (chunk) {
		const uint64_t *uses = chunk->uses[cluster / 64 % Q2_CHUNK_GROUPS];

		seen = uses[0] | uses[1] | uses[2];
	}
	low = seen & old.zero;
	high = ~old.zero & ~(seen & old.one);
	if ((low | high) == 0)
		return true;
	if (r->restricted || cluster + 64 > r->old_clusters)
		return false;
	put_ones(r, at, seen);
	p->rises |= low != 0;
	p->falls |= high != 0;
	q2_recount_note_word(r, QCOW2_PROBLEM_REFCOUNT_LOW, cluster, low);
	q2_recount_note_word(r, QCOW2_PROBLEM_REFCOUNT_HIGH, cluster, high);
	r->repair->result->public.freed_clusters += (uint64_t)__builtin_popcountll(high & ~seen);
	return true;
}

/* Puts 64 refcounts in order, from cluster on. */
static void fix_group(struct piece *p, uint64_t cluster, uint64_t at)
{
	struct q2_recount *r = p->r;

	for (unsigned i = 0; i < 64; i++) {
		uint64_t old = qcow2_refcount_get(r->old_bytes, at + i, r->width);
		uint64_t now = wanted(r, cluster + i, old);

		if (now == old)
			continue;
		qcow2_refcount_put(r->new_bytes, at + i, r->width, now);
		note_change(p, cluster + i, old, now);
	}
}

/* Makes old_bytes the larger of each refcount. */
static void raise_old(struct q2_recount *r)
{
	uint64_t count = r->piece_bytes * 8 / r->width;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t now = qcow2_refcount_get(r->new_bytes, i, r->width);

		if (now > qcow2_refcount_get(r->old_bytes, i, r->width))
			qcow2_refcount_put(r->old_bytes, i, r->width, now);
	}
}

static int plan_piece(struct piece *p, uint64_t offset)
{
	struct q2_recount *r = p->r;
	const struct qcow2_bytes new_bytes = {r->new_bytes, r->piece_bytes};

	if (p->is_new)
		return q2_repair_write(r->repair, QCOW2_PHASE_NEW, offset, new_bytes,
				       "a new refcount block");
	if (p->rises && p->falls) {
		raise_old(r);
		if (q2_repair_write(r->repair, QCOW2_PHASE_COUNT, offset,
				    (struct qcow2_bytes){r->old_bytes, r->piece_bytes},
				    "refcounts of clusters in use"))
			return -1;
	}
	if (p->falls)
		return q2_repair_write(r->repair, QCOW2_PHASE_CLEAN, offset, new_bytes,
				       "refcounts as clusters are used");
	if (p->rises)
		return q2_repair_write(r->repair, QCOW2_PHASE_COUNT, offset, new_bytes,
				       "refcounts of clusters in use");
	return 0;
}

static int compare_piece(struct piece *p, uint64_t index, uint64_t at)
{
	struct q2_recount *r = p->r;
	uint64_t per_piece = r->piece_bytes * 8 / r->width;
	uint64_t first = index * r->per_block + at / r->piece_bytes * per_piece;
	uint64_t offset = r->entries[index].word & QCOW2_ENTRY_MASK(refcount_table_entry, offset);

	p->rises = p->falls = false;
	if (p->is_new)
		memset(r->old_bytes, 0, r->piece_bytes);
	else if (q2_recount_read(r, index, at, r->piece_bytes))
		return -1;
	memcpy(r->new_bytes, r->old_bytes, r->piece_bytes);
	for (uint64_t i = 0; i < per_piece; i += 64)
		if (!fix_plain(p, first + i, i))
			fix_group(p, first + i, i);
	return plan_piece(p, offset + at);
}

/* A block in a hole counts nothing, and need not if nothing is there to count. */
static bool is_idle(const struct q2_recount *r, uint64_t index)
{
	const struct qcow2_source *view = r->repair->view;
	uint64_t offset = r->entries[index].word & QCOW2_ENTRY_MASK(refcount_table_entry, offset);

	return r->entries[index].state == Q2_BLOCK_KEPT && offset < qcow2_source_size_bytes(view) &&
	       qcow2_source_hole_end(view, offset) - offset >= r->cluster_size &&
	       q2_recount_is_free(r, index * r->per_block, r->per_block);
}

int q2_recount_plan_blocks(struct q2_recount *r)
{
	struct piece p = {
		.r = r,
		.classify = q2_classify_choose(r->repair->header->refcount_order),
	};

	for (uint64_t i = 0; i < r->entries_end; i++) {
		unsigned state = r->entries[i].state;

		if ((state != Q2_BLOCK_KEPT && state != Q2_BLOCK_NEW) || is_idle(r, i))
			continue;
		p.is_new = state == Q2_BLOCK_NEW;
		for (uint64_t at = 0; at < r->cluster_size; at += r->piece_bytes)
			if (compare_piece(&p, i, at))
				return -1;
	}
	return r->changed.failed ? q2_memory_fail(&r->counted->memory, r->repair->err) : 0;
}
