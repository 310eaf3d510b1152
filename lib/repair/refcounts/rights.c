/* SPDX-License-Identifier: MIT */
/*
 * A repair that may not mend all refcounts: those that were wrong before it and may not be mended
 * stay as wrong as they were. What the repair itself took or gave up is counted all the same. So
 * the counts are changed to what the refcounts shall be, before anything is compared with them.
 */
#include "repair/refcounts/refcounts.h"

#include <qcow2/entry.h>

/*
 * How often a cluster was used before the repair. Where the header was too damaged to count, it is
 * what is counted now: but for what the repair made the file longer by, it took nothing of it.
 */
static uint64_t count_before(const struct q2_recount *r, uint64_t cluster, uint64_t count)
{
	const struct q2_references *first = r->repair->counted_first;

	if (first == r->counted)
		return count;
	if (first && r->repair->counted_first_bits == r->cluster_bits)
		return q2_bits_has(&first->spared, cluster) ? 0 : q2_references_of(first, cluster);
	return cluster < r->old_clusters ? count : 0;
}

bool q2_recount_was_given_up(const struct q2_recount *r, uint64_t cluster)
{
	const struct q2_references *first = r->repair->counted_first;
	struct q2_cluster_state state;

	if (!r->repair->gave_up || !first || first == r->counted ||
	    r->repair->counted_first_bits != r->cluster_bits)
		return false;
	state = q2_references_state(first, cluster);
	return state.count > 0 && state.use != QCOW2_USE_METADATA;
}

/* What the refcount of a cluster shall be; now is what it is, count how often it is used. */
static uint64_t wanted(const struct q2_recount *r, uint64_t cluster, uint64_t now, uint64_t count)
{
	uint64_t before, apart;

	if (now == count)
		return count;
	if (count == 0 && r->spares && q2_recount_was_given_up(r, cluster))
		return now;
	before = count_before(r, cluster, count);
	if (now > count ? r->may_lower && !(r->keeps_leaks && before + count == 0) : r->may_raise)
		return count;
	if (now > count) {
		apart = now > before ? now - before : 0;
		return count > now - apart ? now : count + apart;
	}
	apart = before > now ? before - now : 0;
	return count < now + apart ? now : count - apart;
}

static void set(struct q2_recount *r, uint64_t cluster, uint64_t now)
{
	uint64_t count = q2_references_of(r->counted, cluster);
	uint64_t most = count < r->most ? count : r->most;
	uint64_t want = wanted(r, cluster, now, most);

	if (want != most)
		q2_clusters_set_count(r->clusters, cluster, want);
}

static void restrict_piece(struct q2_recount *r, uint64_t first, uint64_t count)
{
	for (uint64_t i = 0; i < count && first + i < r->counted->file_clusters; i++)
		set(r, first + i, qcow2_refcount_get(r->old_bytes, i, r->width));
}

static int restrict_block(struct q2_recount *r, uint64_t index)
{
	uint64_t per_piece = r->piece_bytes * 8 / r->width;

	for (uint64_t at = 0; at < r->cluster_size; at += r->piece_bytes) {
		if (q2_recount_read(r, index, at, r->piece_bytes))
			return -1;
		restrict_piece(r, index * r->per_block + at / r->piece_bytes * per_piece,
			       per_piece);
	}
	return 0;
}

/* Clusters without a block that could be read: their refcounts are 0. */
static void restrict_uncounted(struct q2_recount *r, uint64_t index)
{
	uint64_t first = index * r->per_block;

	if (r->may_raise || q2_recount_is_free(r, first, r->per_block))
		return;
	for (uint64_t i = 0; i < r->per_block && first + i < r->counted->file_clusters; i++)
		if (q2_references_of(r->counted, first + i) > 0)
			set(r, first + i, 0);
}

int q2_recount_restrict(struct q2_recount *r)
{
	uint64_t end = (r->counted->file_clusters + r->per_block - 1) / r->per_block;

	if (!r->restricted)
		return 0;
	for (uint64_t i = 0; i < end; i++) {
		unsigned state = i < Q2_TABLE_ENTRIES_MOST ? r->entries[i].state : Q2_BLOCK_NONE;

		if (state == Q2_BLOCK_KEPT && restrict_block(r, i))
			return -1;
		if (state == Q2_BLOCK_NONE)
			restrict_uncounted(r, i);
	}
	return r->clusters->failed ? q2_memory_fail(&r->counted->memory, r->repair->err) : 0;
}
