/* SPDX-License-Identifier: MIT */
/* The loop that a check of an image in disorder spends its time in. */
#include "check/l2_going.h"

/* Entries ahead of the one at hand whose clusters are fetched. */
#define AHEAD 32

/* The bit sets of one use in one leaf. */
struct sets {
	uint64_t leaf;
	uint64_t *const *words;
};

static inline uint64_t *word_of(const struct sets *sets, uint64_t cluster)
{
	uint64_t *words = cluster / Q2_LEAF_CLUSTERS == sets->leaf
				  ? sets->words[cluster / Q2_FRESH_CLUSTERS % Q2_LEAF_FRESH]
				  : NULL;

	return words ? &words[cluster / 64 % Q2_FRESH_WORDS] : NULL;
}

/* What a bit alone does not count: the cluster is of another leaf, or the bit is set. */
static void note_slowly(struct q2_clusters *clusters, struct sets *sets, uint64_t cluster,
			enum qcow2_claim_use use)
{
	const struct q2_cluster_leaf *leaf;

	q2_clusters_note(clusters, cluster, use);
	leaf = clusters->leaves[cluster / Q2_LEAF_CLUSTERS];
	if (leaf)
		*sets = (struct sets){cluster / Q2_LEAF_CLUSTERS,
				      leaf->fresh[use - QCOW2_USE_DATA]};
}

/*
 * Lets the processor fetch the word that will be touched for an entry further on. Without that,
 * scattered clusters make it wait for memory at every entry.
 */
__attribute__((always_inline)) static inline void prefetch(const struct q2_l2_going *g,
							   const struct sets *sets, uint64_t index)
{
	const uint64_t *word;

	if (index + AHEAD >= g->entries)
		return;
	word = word_of(sets, q2_l2_going_cluster(q2_l2_entry_at(g->bytes, index + AHEAD, 8),
						 g->geometry->cluster_bits));
	if (word)
		__builtin_prefetch(word, 1);
}

uint64_t q2_l2_visit_scattered(struct q2_l2_going *g, uint64_t index, enum qcow2_claim_use use)
{
	struct q2_clusters *clusters = &g->worker->clusters;
	const uint64_t last = q2_l2_going_last(g);
	const uint64_t copied = use == QCOW2_USE_DATA_COPIED ? Q2_L2_COPIED : 0;
	const unsigned bits = g->geometry->cluster_bits;
	struct sets sets = {.leaf = UINT64_MAX};
	/* An unaligned offset was no cluster's, and none follows it. */
	uint64_t follows = g->follows % (UINT64_C(1) << bits) ? UINT64_MAX : g->follows >> bits;
	uint64_t at = index, fragments = 0;
	uint64_t entry = q2_l2_entry_at(g->bytes, at, 8), next;

	for (; at + 1 < g->entries; at++, entry = next) {
		uint64_t cluster = q2_l2_going_cluster(entry, bits), bit;
		uint64_t *word;

		next = q2_l2_entry_at(g->bytes, at + 1, 8);
		if (cluster - 1 >= last || (entry & Q2_L2_COPIED) != copied ||
		    next == entry + (UINT64_C(1) << bits))
			break;
		prefetch(g, &sets, at);
		word = word_of(&sets, cluster);
		bit = UINT64_C(1) << cluster % 64;
		if (word && !(*word & bit))
			*word |= bit;
		else
			note_slowly(clusters, &sets, cluster, use);
		fragments += follows != 0 && follows != cluster;
		follows = cluster + 1;
	}
	if (at > index)
		g->follows = follows << bits;
	g->worker->fragmented += fragments;
	g->worker->allocated += at - index;
	return at;
}
