/* SPDX-License-Identifier: MIT */
/*
 * What the metadata says of each host cluster: how often it is referenced, for what, and whether by
 * entries of the active image with or without the copied flag.
 *
 * Almost every cluster is referenced once at most, so three bits tell all: the use of its first
 * reference. Clusters that are referenced again have a counter in an array that their chunk of
 * 4,096 clusters gets with the first of them. Chunks that nothing refers to take no memory.
 *
 * A set of clusters belongs to one thread; those of several threads are merged.
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

struct qcow2_cluster_leaf {
	struct qcow2_cluster_chunk *chunks[QCOW2_LEAF_CHUNKS];
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

/*
 * Lets the processor fetch what marking that cluster will touch, which may be in two cache lines.
 * cluster is below the count. Always inline: as a function of its own, gcc finds that it does
 * nothing and drops the calls.
 */
__attribute__((always_inline)) static inline void
qcow2_clusters_prefetch(const struct qcow2_clusters *clusters, uint64_t cluster)
{
	const struct qcow2_cluster_chunk *chunk = qcow2_clusters_chunk(clusters, cluster);

	if (!chunk)
		return;
	__builtin_prefetch(&chunk->uses[cluster / 64 % QCOW2_CHUNK_GROUPS][0], 1);
	__builtin_prefetch(&chunk->uses[cluster / 64 % QCOW2_CHUNK_GROUPS][2], 1);
}

/* The short way for one reference to one cluster: false if the long one has to be taken. */
static inline bool qcow2_clusters_mark_fresh(const struct qcow2_clusters *clusters,
					     uint64_t cluster, enum qcow2_use use)
{
	struct qcow2_cluster_chunk *chunk = qcow2_clusters_chunk(clusters, cluster);
	uint64_t bit = UINT64_C(1) << (cluster % 64), *uses;

	if (!chunk)
		return false;
	uses = chunk->uses[cluster / 64 % QCOW2_CHUNK_GROUPS];
	if ((uses[0] | uses[1] | uses[2]) & bit)
		return false;
	/* The use is that of thousands of clusters in a row: branches cost less than stores. */
	if (use & 1)
		uses[0] |= bit;
	if (use & 2)
		uses[1] |= bit;
	if (use & 4)
		uses[2] |= bit;
	return true;
}

#endif
