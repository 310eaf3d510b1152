/* SPDX-License-Identifier: MIT */
/*
 * What the metadata says of each host cluster: how often it is referenced, for what, and whether by
 * entries of the active image with or without the copied flag.
 *
 * Almost every cluster is referenced once at most, so three bits tell all: the use of its first
 * reference. Clusters that are referenced again have a counter in an array that their chunk of
 * 4,096 clusters gets with the first of them. Chunks that nothing refers to take no memory.
 *
 * Scattered single references to data are first noted in a bitset for each use, since that touches
 * a third of the memory; the sets are folded in, 64 clusters at a step, when clusters are merged.
 *
 * Clusters belong to one thread; those of several threads are merged.
 */
#ifndef Q2_CHECK_CLUSTERS_H
#define Q2_CHECK_CLUSTERS_H

#include "base/memory.h"

#include <qcow2/claims.h>

/* Three bit planes hold the use of a cluster's first reference. */
_Static_assert(QCOW2_USE_COMPRESSED < 8, "a use fits three bits");

#define Q2_CHUNK_CLUSTERS 4096
#define Q2_CHUNK_GROUPS   (Q2_CHUNK_CLUSTERS / 64)
#define Q2_LEAF_CHUNKS    4096

/* Bits of q2_cluster_state.flags. */
#define Q2_SEEN_COPIED   1 /* by an active entry with the copied flag */
#define Q2_SEEN_SHARED   2 /* by an active entry without it */
#define Q2_SEEN_CONFLICT 4 /* by two owners that may not share */

#define Q2_FLAG_BITS 3
#define Q2_FEW_MOST  (UINT16_MAX >> Q2_FLAG_BITS) /* the largest count of a small counter */

struct q2_cluster_chunk {
	uint64_t uses[Q2_CHUNK_GROUPS][3]; /* bit planes of enum qcow2_claim_use */
	/* count << 3 | flags of clusters referenced more than once; others are 0. One of both. */
	uint16_t *few;
	uint64_t *many;
};

/* Data of snapshots, of the active image with and without the copied flag. */
#define Q2_FRESH_USES     3
#define Q2_FRESH_WORDS    512
#define Q2_FRESH_CLUSTERS (Q2_FRESH_WORDS * 64)
#define Q2_LEAF_CLUSTERS  (Q2_LEAF_CHUNKS * Q2_CHUNK_CLUSTERS)
#define Q2_LEAF_FRESH     (Q2_LEAF_CLUSTERS / Q2_FRESH_CLUSTERS)

struct q2_cluster_leaf {
	struct q2_cluster_chunk *chunks[Q2_LEAF_CHUNKS];
	uint64_t *fresh[Q2_FRESH_USES][Q2_LEAF_FRESH]; /* single references, not folded yet */
	uint16_t *
		*tallies; /* NULL, or a page or NULL for each chunk: see tally.h; not folded yet */
};

struct q2_clusters {
	struct q2_cluster_leaf **leaves;
	uint64_t leaf_count;
	uint64_t cluster_count; /* marks beyond are not allowed */
	struct q2_memory *memory;
	_Atomic bool failed; /* memory was short: the contents are not complete */
};

struct q2_cluster_state {
	uint64_t count;
	enum qcow2_claim_use use; /* of the first reference */
	unsigned flags;
};

/* False if memory is short, or there are more clusters than can be told apart (2^48). */
bool q2_clusters_init(struct q2_clusters *clusters, uint64_t cluster_count,
		      struct q2_memory *memory);
void q2_clusters_release(struct q2_clusters *clusters);

/* Counts weight (at least 1) references to each of count clusters from first on. */
void q2_clusters_mark(struct q2_clusters *clusters, uint64_t first, uint64_t count,
		      enum qcow2_claim_use use, uint64_t weight);

/*
 * Puts what is known to count threads together in the first of them, in parts of the file by so many
 * threads; the others are empty afterwards. With a single one, what it has noted becomes known.
 */
void q2_clusters_join(struct q2_clusters *const *all, unsigned count, unsigned threads);

/* Chunks of a leaf from chunk on, Q2_PART_CHUNKS of them, which one thread puts together. */
#define Q2_PART_CHUNKS 256

struct q2_cluster_part {
	uint64_t leaf;
	unsigned chunk;
};

/* The steps of that, of one part. Leaves of clusters are there where those of the other are. */
void q2_clusters_merge(struct q2_clusters *clusters, struct q2_clusters *other,
		       struct q2_cluster_part part);
void q2_clusters_fold(struct q2_clusters *clusters, struct q2_clusters *source,
		      struct q2_cluster_part part);

/*
 * Takes one reference from a cluster; does nothing to one without any. The use of a cluster that is
 * still referenced stays that of its first reference, whichever was taken.
 */
void q2_clusters_drop(struct q2_clusters *clusters, uint64_t cluster);

/* Makes the count of a cluster another one; with 0, its use and flags are forgotten. */
void q2_clusters_set_count(struct q2_clusters *clusters, uint64_t cluster, uint64_t count);

/* Makes room for clusters below cluster_count. False if memory is short. */
bool q2_clusters_extend(struct q2_clusters *clusters, uint64_t cluster_count);

/* The leaf at an index, which is made if there is none. NULL if memory is short. */
struct q2_cluster_leaf *q2_clusters_need_leaf(struct q2_clusters *clusters, uint64_t index);

/* The chunk of a cluster, with small counters unless it has wide ones. NULL if memory is short. */
struct q2_cluster_chunk *q2_clusters_need_few(struct q2_clusters *clusters, uint64_t cluster);

/* All that is known of a cluster. */
struct q2_cluster_state q2_clusters_get(const struct q2_clusters *clusters, uint64_t cluster);

/* All that is known of a cluster of a chunk, and the end of the clusters from it on that are alike. */
struct q2_cluster_state q2_chunk_state(const struct q2_cluster_chunk *chunk, unsigned at);
unsigned q2_chunk_run_end(const struct q2_cluster_chunk *chunk, unsigned at);

/* Frees a chunk that was taken from its clusters. NULL is fine. */
void q2_chunk_free(struct q2_memory *memory, struct q2_cluster_chunk *chunk);

/* The chunk that holds a cluster, or NULL if nothing in it is referenced. */
static inline struct q2_cluster_chunk *q2_clusters_chunk(const struct q2_clusters *clusters,
							 uint64_t cluster)
{
	uint64_t chunk = cluster / Q2_CHUNK_CLUSTERS;
	const struct q2_cluster_leaf *leaf = clusters->leaves[chunk / Q2_LEAF_CHUNKS];

	return leaf ? leaf->chunks[chunk % Q2_LEAF_CHUNKS] : NULL;
}

/* The word of the bitset of a use of data that holds a cluster, or NULL. */
__attribute__((always_inline)) static inline uint64_t *
q2_clusters_fresh(const struct q2_clusters *clusters, uint64_t cluster, enum qcow2_claim_use use)
{
	const struct q2_cluster_leaf *leaf = clusters->leaves[cluster / Q2_LEAF_CLUSTERS];
	uint64_t *words = leaf ? leaf->fresh[use - QCOW2_USE_DATA]
					    [cluster / Q2_FRESH_CLUSTERS % Q2_LEAF_FRESH]
			       : NULL;

	return words ? &words[cluster / 64 % Q2_FRESH_WORDS] : NULL;
}

/*
 * Lets the processor fetch what noting that cluster will touch. cluster is below the count. Always
 * inline: as a function of its own, gcc finds that it does nothing and drops the calls.
 */
__attribute__((always_inline)) static inline void
q2_clusters_prefetch(const struct q2_clusters *clusters, uint64_t cluster, enum qcow2_claim_use use)
{
	const uint64_t *word = q2_clusters_fresh(clusters, cluster, use);

	if (word)
		__builtin_prefetch(word, 1);
}

/* As q2_clusters_note(), if that takes no more than to set a bit; else false. */
static inline bool q2_clusters_note_fresh(const struct q2_clusters *clusters, uint64_t cluster,
					  enum qcow2_claim_use use)
{
	uint64_t bit = UINT64_C(1) << (cluster % 64);
	uint64_t *word = q2_clusters_fresh(clusters, cluster, use);

	if (!word || (*word & bit))
		return false;
	*word |= bit;
	return true;
}

/* One reference to a cluster of data; known once the clusters are merged. */
void q2_clusters_note(struct q2_clusters *clusters, uint64_t cluster, enum qcow2_claim_use use);

#endif
