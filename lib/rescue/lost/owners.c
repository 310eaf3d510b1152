/* SPDX-License-Identifier: MIT */
/*
 * Which clusters the image refers to, and which of them its refcounts say are in use. What has a
 * refcount without a reference may be what is looked for.
 */
#include "rescue/lost/state.h"

#include "base/error.h"

/* What structures may claim beyond the clusters of the file: a hostile image may repeat claims. */
#define CLAIMS_SLACK (UINT64_C(1) << 24)

static int note_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct q2_lost_state *state = opaque;
	unsigned bits = state->geometry->cluster_bits;
	uint64_t first = claim->offset_bytes >> bits, end;

	if (claim->length_bytes == 0 || first >= state->file_clusters)
		return 0;
	end = claim->length_bytes > state->geometry->file_size_bytes - claim->offset_bytes
		      ? state->file_clusters
		      : ((claim->offset_bytes + claim->length_bytes - 1) >> bits) + 1;
	if (end - first > state->claims_left)
		end = first + state->claims_left;
	state->claims_left -= end - first;
	if (end > first)
		q2_clusters_mark(&state->clusters, first, end - first, claim->use, claim->weight);
	return 0;
}

static int open_readers(struct q2_lost_state *state)
{
	const struct qcow2_header *header = state->header;

	if (qcow2_table_open(state->image, &state->words, state->err) ||
	    qcow2_table_open(state->image, &state->refcount_table, state->err) ||
	    qcow2_table_open(state->image, &state->refcount_block, state->err))
		return -1;
	state->refcount_entries =
		qcow2_table_begin(state->refcount_table, header->refcount_table_offset,
				  (uint64_t)header->refcount_table_clusters *
					  state->geometry->cluster_size_bytes / 8);
	return 0;
}

int q2_lost_count(struct q2_lost_state *state)
{
	const struct qcow2_claims_options how = {
		.size = sizeof(how), .memory_limit_bytes = state->how->memory_limit_bytes};
	uint64_t refcount;

	if (!q2_clusters_init(&state->clusters, state->file_clusters + 2, &state->memory))
		return q2_memory_fail(&state->memory, state->err);
	state->claims_left = state->file_clusters + CLAIMS_SLACK;
	if (qcow2_claims_walk(state->image, &how, note_claim, state, state->err))
		return -1;
	if (state->clusters.failed)
		return q2_memory_fail(&state->memory, state->err);
	if (open_readers(state) || q2_lost_refcount(state, 0, &refcount))
		return -1;
	/* The header is always in use: where its refcount is gone, most others are. */
	state->refcounts = refcount > 0;
	return 0;
}

int q2_lost_refcount(struct q2_lost_state *state, uint64_t cluster, uint64_t *refcount)
{
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t index = cluster / geometry->refcount_block_entries, entry, block, words;

	*refcount = 0;
	if (index >= state->refcount_entries)
		return 0;
	if (qcow2_table_entry(state->refcount_table, index, &entry, state->err))
		return -1;
	block = entry & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
	if (block == 0 || block % geometry->cluster_size_bytes != 0 ||
	    block >= geometry->file_size_bytes)
		return 0;
	words = geometry->cluster_size_bytes / 8;
	if (block != state->block_bytes &&
	    qcow2_table_begin(state->refcount_block, block, words) < words)
		return 0;
	state->block_bytes = block;
	return qcow2_table_refcount(state->refcount_block,
				    cluster % geometry->refcount_block_entries, refcount,
				    state->err);
}

int q2_lost_lacks(struct q2_lost_state *state, uint64_t cluster, bool *lacks)
{
	uint64_t count = q2_clusters_get(&state->clusters, cluster).count, refcount;

	if (q2_lost_refcount(state, cluster, &refcount))
		return -1;
	*lacks = refcount > count || (!state->refcounts && count == 0);
	return 0;
}

int q2_lost_leaks(struct q2_lost_state *state, uint64_t cluster, bool *leaks)
{
	*leaks = false;
	if (cluster >= state->file_clusters || !state->refcounts ||
	    q2_clusters_get(&state->clusters, cluster).count > 0)
		return 0;
	return q2_lost_lacks(state, cluster, leaks);
}
