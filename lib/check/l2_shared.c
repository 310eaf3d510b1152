/* SPDX-License-Identifier: MIT */
/* The loop that a check of an image with snapshots spends its time in: see tally.h. */
#include "check/l2_going.h"

/* Clusters in a row, less one, that are tallied at once. */
#define TALLY_RUN 15
/* A run is looked for at each so many entries. */
#define RUN_STEP 8

/* Whether a long run starts at an entry: a look at its first and its last member. */
static inline bool starts_run(const struct q2_l2_going *g, uint64_t index, uint64_t entry,
			      unsigned width)
{
	uint64_t cluster = g->geometry->cluster_size_bytes;

	return index + TALLY_RUN < g->entries &&
	       q2_l2_entry_at(g->bytes, index + TALLY_RUN, width) == entry + TALLY_RUN * cluster &&
	       q2_l2_entry_at(g->bytes, index + 1, width) == entry + cluster;
}

/*
 * Counts plain entries from index on that snapshots share, or may share, but for long runs. The page
 * of the cluster before is at hand, as the next cluster is most often in it. Returns the index of
 * the first entry that it leaves to others. width and active are constants of each caller.
 */
__attribute__((always_inline)) static inline uint64_t
tally_entries(struct q2_l2_going *g, uint64_t index, unsigned width, bool active)
{
	struct q2_clusters *clusters = &g->worker->clusters;
	const uint16_t add = (uint16_t)(g->ref->weight << Q2_TALLY_FLAG_BITS);
	const unsigned bits = g->geometry->cluster_bits;
	const uint64_t last = q2_l2_going_last(g), entries = g->entries;
	uint64_t at = index, chunk = UINT64_MAX;
	uint16_t *page = NULL;

	for (; at < entries; at++) {
		uint64_t entry = q2_l2_entry_at(g->bytes, at, width);
		uint64_t cluster = q2_l2_going_cluster(entry, bits);
		unsigned flags = !active                  ? 0
				 : (entry & Q2_L2_COPIED) ? Q2_SEEN_COPIED
							  : Q2_SEEN_SHARED;

		if (cluster - 1 >= last || (width == 16 && q2_l2_going_contradicts(g, at)) ||
		    (at % RUN_STEP == 0 && starts_run(g, at, entry, width)))
			break;
		if (cluster / Q2_CHUNK_CLUSTERS != chunk) {
			chunk = cluster / Q2_CHUNK_CLUSTERS;
			page = q2_tally_need(clusters, chunk);
			if (!page)
				break;
		}
		if (!q2_tally_add(page, cluster, add, flags))
			break;
		if (active)
			q2_l2_going_allocated(g, cluster << bits, 1);
	}
	return at;
}

uint64_t q2_l2_visit_shared(struct q2_l2_going *g, uint64_t index)
{
	if (g->geometry->extended_l2)
		return g->ref->active ? tally_entries(g, index, 16, true)
				      : tally_entries(g, index, 16, false);
	return g->ref->active ? tally_entries(g, index, 8, true)
			      : tally_entries(g, index, 8, false);
}
