/* SPDX-License-Identifier: MIT */
/*
 * Counts references to clusters of guest data that are referenced many times, as by snapshots that
 * were taken one after the other. Each cluster has a small counter, in pages of 4,096 clusters that
 * the first reference makes; one addition counts a reference, or as many as a table's. The tallies
 * are folded into what is known of the clusters when those of all threads are merged.
 *
 * A counter is count << 2 | flags, the flags being Q2_SEEN_COPIED and Q2_SEEN_SHARED. A count that
 * does not fit is counted by q2_clusters_mark().
 */
#ifndef Q2_CHECK_TALLY_H
#define Q2_CHECK_TALLY_H

#include "check/clusters.h"

#define Q2_TALLY_FLAG_BITS 2
#define Q2_TALLY_FLAGS     3U
#define Q2_TALLY_MOST      (UINT16_MAX >> Q2_TALLY_FLAG_BITS)

/* Where the pages of a leaf are kept, which is made if need be. NULL if memory is short. */
uint16_t **q2_tally_pages(struct q2_clusters *clusters, uint64_t leaf);

/* Makes the page of a chunk. NULL if memory is short. */
uint16_t *q2_tally_make(struct q2_clusters *clusters, uint64_t chunk);

/* Counts weight references, at most Q2_TALLY_MOST, to each of count clusters from first on. */
void q2_tally_run(struct q2_clusters *clusters, uint64_t first, uint64_t count,
		  enum qcow2_claim_use use, uint64_t weight);

/* Steps of q2_clusters_join(): adds what source has tallied, and makes known what was tallied. */
void q2_tally_merge(struct q2_clusters *clusters, struct q2_clusters *source,
		    struct q2_cluster_part part);
void q2_tally_fold(struct q2_clusters *clusters, struct q2_cluster_part part);

/* The page of a chunk, which is made if there is none. NULL if memory is short. */
static inline uint16_t *q2_tally_need(struct q2_clusters *clusters, uint64_t chunk)
{
	const struct q2_cluster_leaf *leaf = clusters->leaves[chunk / Q2_LEAF_CHUNKS];
	uint16_t *page = leaf && leaf->tallies ? leaf->tallies[chunk % Q2_LEAF_CHUNKS] : NULL;

	return page ? page : q2_tally_make(clusters, chunk);
}

/* One cluster of a page. False if the count does not fit: nothing is counted. */
static inline bool q2_tally_add(uint16_t *page, uint64_t cluster, uint16_t add, unsigned flags)
{
	uint16_t *counter = &page[cluster % Q2_CHUNK_CLUSTERS];
	uint16_t sum;

	if (__builtin_add_overflow(*counter, add, &sum))
		return false;
	*counter = (uint16_t)(sum | flags);
	return true;
}

#endif
