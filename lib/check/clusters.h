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
#ifndef QCOW2_CHECK_CLUSTERS_H
#define QCOW2_CHECK_CLUSTERS_H

#include "check/memory.h"

#include <qcow2/base.h>

/* For what a cluster is referenced first; fits three bits. */
enum qcow2_use {
	QCOW2_USE_NONE,
	QCOW2_USE_DATA,        /* by snapshots only: the copied flag means nothing */
	QCOW2_USE_DATA_COPIED, /* by the active image, copied flag set */
	QCOW2_USE_DATA_SHARED, /* by the active image, copied flag clear */
	QCOW2_USE_METADATA,    /* anything else that has one owner; L2 tables of snapshots */
	QCOW2_USE_L2_COPIED,
	QCOW2_USE_L2_SHARED,
	QCOW2_USE_COMPRESSED, /* one or more compressed clusters touch it */
};

#define QCOW2_CHUNK_CLUSTERS 4096
#define QCOW2_CHUNK_GROUPS   (QCOW2_CHUNK_CLUSTERS / 64)
#define QCOW2_LEAF_CHUNKS    4096

/* Bits of qcow2_cluster_state.flags. */
#define QCOW2_SEEN_COPIED   1 /* by an active entry with the copied flag */
#define QCOW2_SEEN_SHARED   2 /* by an active entry without it */
#define QCOW2_SEEN_CONFLICT 4 /* by two owners that may not share */

struct qcow2_cluster_chunk {
	uint64_t uses[QCOW2_CHUNK_GROUPS][3]; /* bit planes of enum qcow2_use */
	/* count << 3 | flags of clusters referenced more than once; others are 0. One of both. */
	uint16_t *few;
	uint64_t *many;
};

/* Data of snapshots, of the active image with and without the copied flag. */
#define QCOW2_FRESH_USES     3
#define QCOW2_FRESH_WORDS    512
#define QCOW2_FRESH_CLUSTERS (QCOW2_FRESH_WORDS * 64)
#define QCOW2_LEAF_CLUSTERS  (QCOW2_LEAF_CHUNKS * QCOW2_CHUNK_CLUSTERS)
#define QCOW2_LEAF_FRESH     (QCOW2_LEAF_CLUSTERS / QCOW2_FRESH_CLUSTERS)

struct qcow2_cluster_leaf {
	struct qcow2_cluster_chunk *chunks[QCOW2_LEAF_CHUNKS];
	uint64_t *fresh[QCOW2_FRESH_USES][QCOW2_LEAF_FRESH]; /* single references, not folded yet */
};

struct qcow2_clusters {
	struct qcow2_cluster_leaf **leaves;
	uint64_t leaf_count;
	uint64_t cluster_count; /* marks beyond are not allowed */
	struct qcow2_memory *memory;
	bool failed; /* memory was short: the contents are not complete */
};

struct qcow2_cluster_state {
	uint64_t count;
	enum qcow2_use use; /* of the first reference */
	unsigned flags;
};

/* False if memory is short, or there are more clusters than can be told apart (2^48). */
bool qcow2_clusters_init(struct qcow2_clusters *clusters, uint64_t cluster_count,
			 struct qcow2_memory *memory);
void qcow2_clusters_release(struct qcow2_clusters *clusters);

/* Counts weight (at least 1) references to each of count clusters from first on. */
void qcow2_clusters_mark(struct qcow2_clusters *clusters, uint64_t first, uint64_t count,
			 enum qcow2_use use, uint64_t weight);

/* Adds what other knows; other is empty afterwards. */
void qcow2_clusters_merge(struct qcow2_clusters *clusters, struct qcow2_clusters *other);

/* Makes known what was noted in source, which may be the same. */
void qcow2_clusters_fold(struct qcow2_clusters *clusters, struct qcow2_clusters *source);

/* All that is known of a cluster. */
struct qcow2_cluster_state qcow2_clusters_get(const struct qcow2_clusters *clusters,
					      uint64_t cluster);

/* The chunk that holds a cluster, or NULL if nothing in it is referenced. */
static inline struct qcow2_cluster_chunk *
qcow2_clusters_chunk(const struct qcow2_clusters *clusters, uint64_t cluster)
{
	uint64_t chunk = cluster / QCOW2_CHUNK_CLUSTERS;
	const struct qcow2_cluster_leaf *leaf = clusters->leaves[chunk / QCOW2_LEAF_CHUNKS];

	return leaf ? leaf->chunks[chunk % QCOW2_LEAF_CHUNKS] : NULL;
}

/* The word of the bitset of a use of data that holds a cluster, or NULL. */
__attribute__((always_inline)) static inline uint64_t *
qcow2_clusters_fresh(const struct qcow2_clusters *clusters, uint64_t cluster, enum qcow2_use use)
{
	const struct qcow2_cluster_leaf *leaf = clusters->leaves[cluster / QCOW2_LEAF_CLUSTERS];
	uint64_t *words = leaf ? leaf->fresh[use - QCOW2_USE_DATA]
					    [cluster / QCOW2_FRESH_CLUSTERS % QCOW2_LEAF_FRESH]
			       : NULL;

	return words ? &words[cluster / 64 % QCOW2_FRESH_WORDS] : NULL;
}

/*
 * Lets the processor fetch what noting that cluster will touch. cluster is below the count. Always
 * inline: as a function of its own, gcc finds that it does nothing and drops the calls.
 */
__attribute__((always_inline)) static inline void
qcow2_clusters_prefetch(const struct qcow2_clusters *clusters, uint64_t cluster, enum qcow2_use use)
{
	const uint64_t *word = qcow2_clusters_fresh(clusters, cluster, use);

	if (word)
		__builtin_prefetch(word, 1);
}

/* As qcow2_clusters_note(), if that takes no more than to set a bit; else false. */
static inline bool qcow2_clusters_note_fresh(const struct qcow2_clusters *clusters,
					     uint64_t cluster, enum qcow2_use use)
{
	uint64_t bit = UINT64_C(1) << (cluster % 64);
	uint64_t *word = qcow2_clusters_fresh(clusters, cluster, use);

	if (!word || (*word & bit))
		return false;
	*word |= bit;
	return true;
}

/* One reference to a cluster of data; known once the clusters are merged. */
void qcow2_clusters_note(struct qcow2_clusters *clusters, uint64_t cluster, enum qcow2_use use);

#endif
