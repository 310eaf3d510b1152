/* SPDX-License-Identifier: MIT */
/* See tally.h. */
#include "check/tally.h"

uint16_t **q2_tally_pages(struct q2_clusters *clusters, uint64_t leaf)
{
	struct q2_cluster_leaf *there = q2_clusters_need_leaf(clusters, leaf);

	if (there && !there->tallies)
		there->tallies =
			q2_memory_get(clusters->memory, Q2_LEAF_CHUNKS, sizeof(*there->tallies));
	if (!there || !there->tallies)
		clusters->failed = true;
	return there ? there->tallies : NULL;
}

uint16_t *q2_tally_make(struct q2_clusters *clusters, uint64_t chunk)
{
	uint16_t **pages = q2_tally_pages(clusters, chunk / Q2_LEAF_CHUNKS);
	uint16_t **page = pages ? &pages[chunk % Q2_LEAF_CHUNKS] : NULL;

	if (page && !*page)
		*page = q2_memory_get(clusters->memory, Q2_CHUNK_CLUSTERS, sizeof(**page));
	if (!page || !*page)
		clusters->failed = true;
	return page ? *page : NULL;
}

/* Whether counters can take that much more. */
static bool have_room(const uint16_t *counters, unsigned count, uint32_t add)
{
	uint32_t over = 0;

	for (unsigned i = 0; i < count; i++)
		over |= (counters[i] + add) >> 16;
	return over == 0;
}

void q2_tally_run(struct q2_clusters *clusters, uint64_t first, uint64_t count,
		  enum qcow2_claim_use use, uint64_t weight)
{
	uint32_t add = (uint32_t)(weight << Q2_TALLY_FLAG_BITS);
	unsigned flags = use == QCOW2_USE_DATA_COPIED   ? Q2_SEEN_COPIED
			 : use == QCOW2_USE_DATA_SHARED ? Q2_SEEN_SHARED
							: 0;

	while (count > 0) {
		unsigned at = (unsigned)(first % Q2_CHUNK_CLUSTERS), left = Q2_CHUNK_CLUSTERS - at;
		unsigned here = left < count ? left : (unsigned)count;
		uint16_t *page = q2_tally_need(clusters, first / Q2_CHUNK_CLUSTERS);

		if (!page)
			return;
		if (!have_room(page + at, here, add))
			q2_clusters_mark(clusters, first, here, use, weight);
		else
			for (unsigned i = at; i < at + here; i++)
				page[i] = (uint16_t)((page[i] + add) | flags);
		first += here;
		count -= here;
	}
}

static enum qcow2_claim_use use_of(unsigned flags)
{
	if (flags & Q2_SEEN_COPIED)
		return QCOW2_USE_DATA_COPIED;
	return flags & Q2_SEEN_SHARED ? QCOW2_USE_DATA_SHARED : QCOW2_USE_DATA;
}

/* A counter that is not 0 becomes a mark for each of its flags. */
static void mark_counter(struct q2_clusters *clusters, uint64_t cluster, uint16_t counter)
{
	uint64_t count = counter >> Q2_TALLY_FLAG_BITS;

	if ((counter & Q2_TALLY_FLAGS) == Q2_TALLY_FLAGS && count > 1) {
		q2_clusters_mark(clusters, cluster, 1, QCOW2_USE_DATA_SHARED, 1);
		count--;
	}
	q2_clusters_mark(clusters, cluster, 1, use_of(counter & Q2_TALLY_FLAGS), count);
}

/* ---- tallies of several threads ---- */

static void merge_page(struct q2_clusters *clusters, uint64_t first, uint16_t *to,
		       const uint16_t *from)
{
	for (unsigned i = 0; i < Q2_CHUNK_CLUSTERS; i++) {
		uint32_t sum = to[i] + (from[i] & ~Q2_TALLY_FLAGS);

		if (sum <= UINT16_MAX)
			to[i] = (uint16_t)(sum | (from[i] & Q2_TALLY_FLAGS));
		else
			mark_counter(clusters, first + i, from[i]);
	}
}

void q2_tally_merge(struct q2_clusters *clusters, struct q2_clusters *source,
		    struct q2_cluster_part part)
{
	const struct q2_cluster_leaf *leaf = source->leaves[part.leaf];
	uint16_t **from = leaf ? leaf->tallies : NULL;
	uint16_t **to = from ? clusters->leaves[part.leaf]->tallies : NULL;

	for (size_t i = part.chunk; to && i < part.chunk + Q2_PART_CHUNKS; i++) {
		if (!from[i])
			continue;
		if (!to[i]) {
			to[i] = from[i];
		} else {
			merge_page(clusters, part.leaf * Q2_LEAF_CLUSTERS + i * Q2_CHUNK_CLUSTERS,
				   to[i], from[i]);
			q2_memory_put(source->memory, from[i], Q2_CHUNK_CLUSTERS, sizeof(**from));
		}
		from[i] = NULL;
	}
}

/* ---- folding ---- */

/* All bits that are set in any of 64 counters. */
static uint32_t any_bits(const uint16_t *counters)
{
	uint32_t all = 0;

	for (unsigned i = 0; i < 64; i++)
		all |= counters[i];
	return all;
}

/* The clusters among 64 whose counter has one of the bits. */
static uint64_t with_bits(const uint16_t *counters, uint16_t bits)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < 64; i++)
		found |= (uint64_t)((counters[i] & bits) != 0) << i;
	return found;
}

_Static_assert(QCOW2_USE_DATA == 1 && QCOW2_USE_DATA_COPIED == 2 && QCOW2_USE_DATA_SHARED == 3,
	       "fold_fresh() sets the planes of these uses");

/*
 * 64 clusters that nothing was known of: their uses, and the counters of those that are referenced
 * more than once.
 */
static void fold_fresh(uint64_t *uses, uint16_t *few, const uint16_t *counters)
{
	uint64_t seen = with_bits(counters, UINT16_MAX);
	uint64_t copied = with_bits(counters, Q2_SEEN_COPIED);
	uint64_t shared = with_bits(counters, Q2_SEEN_SHARED);

	for (unsigned i = 0; i < 64; i++) {
		unsigned count = counters[i] >> Q2_TALLY_FLAG_BITS;
		unsigned flags = counters[i] & Q2_TALLY_FLAGS;

		few[i] = (uint16_t)(count > 1 ? count << Q2_FLAG_BITS | flags : 0);
	}
	uses[0] = seen & ~copied;
	uses[1] = copied | shared;
}

static void fold_page(struct q2_clusters *clusters, uint64_t first, const uint16_t *page)
{
	struct q2_cluster_chunk *chunk = q2_clusters_need_few(clusters, first);

	for (unsigned group = 0; chunk && group < Q2_CHUNK_GROUPS; group++) {
		uint64_t *uses = chunk->uses[group];
		const uint16_t *counters = page + (size_t)group * 64;
		uint32_t all = any_bits(counters);

		if (all == 0)
			continue;
		if (chunk->few && (uses[0] | uses[1] | uses[2]) == 0 &&
		    all >> Q2_TALLY_FLAG_BITS <= Q2_FEW_MOST) {
			fold_fresh(uses, chunk->few + (size_t)group * 64, counters);
			continue;
		}
		for (unsigned i = 0; i < 64; i++)
			if (counters[i] != 0)
				mark_counter(clusters, first + group * 64 + i, counters[i]);
	}
}

void q2_tally_fold(struct q2_clusters *clusters, struct q2_cluster_part part)
{
	const struct q2_cluster_leaf *leaf = clusters->leaves[part.leaf];
	uint16_t **pages = leaf ? leaf->tallies : NULL;

	for (size_t i = part.chunk; pages && i < part.chunk + Q2_PART_CHUNKS; i++) {
		if (!pages[i])
			continue;
		fold_page(clusters, part.leaf * Q2_LEAF_CLUSTERS + i * Q2_CHUNK_CLUSTERS, pages[i]);
		q2_memory_put(clusters->memory, pages[i], Q2_CHUNK_CLUSTERS, sizeof(**pages));
		pages[i] = NULL;
	}
}
