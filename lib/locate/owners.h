/* SPDX-License-Identifier: MIT */
/*
 * The owners of some clusters of the file, gathered by one walk through the claims, and bounded: what
 * cannot be kept is counted. collect.c listens, shared.c finds out who else leads to the L2 tables
 * that snapshots share, pieces.c tells the clusters.
 */
#ifndef Q2_LOCATE_OWNERS_H
#define Q2_LOCATE_OWNERS_H

#include "claims/metadata.h"
#include "locate/refcount_reader.h"

/* The most clusters that one walk is for. */
#define Q2_WINDOW_CLUSTERS 16384
/* The most claims that are kept for them all; for each cluster at least 64 of them. */
#define Q2_OWNERS_KEPT        (UINT64_C(1) << 20)
#define Q2_OWNERS_OF_ONE_MOST 131072
#define Q2_NEIGHBOURS_MOST    64
/* A claim of more clusters than this is wide: a table. So many wide ones are kept. */
#define Q2_WIDE_CLUSTERS 4
#define Q2_WIDE_KEPT     4096

/* A claim that touches the clusters of the window. */
struct q2_kept {
	struct qcow2_claim claim;
	uint64_t l2_table; /* of an L2 table and of data below one: where it is */
	uint64_t order;    /* in the walk */
	bool unclaimed;    /* touches only bytes that nobody has asked for */
};

/* An L1 entry that leads to a shared L2 table. */
struct q2_sharer {
	uint64_t l2_table;
	uint32_t list, index;
};

/*
 * What is known of a cluster of the window: references, and kept claims of few clusters. Neighbours
 * are those that claim no byte of the range.
 */
struct q2_counted {
	uint64_t total, neighbours;
	uint32_t kept, kept_neighbours;
};

struct q2_owners {
	struct q2_metadata metadata;
	struct q2_memory memory;
	uint64_t first, count; /* the clusters of the window */
	uint64_t heard;        /* claims so far */
	uint64_t start, last;  /* the first and the last byte that was asked for */
	uint64_t of_one_most;  /* claims that are kept for one cluster */
	struct q2_kept *kept;  /* those of few clusters, then by their place */
	size_t kept_count, kept_capacity;
	struct q2_kept *wide;
	size_t wide_count, wide_capacity;
	uint64_t wide_omitted;      /* references of wide claims that are not kept */
	struct q2_counted *counted; /* of each cluster of the window */
	struct q2_sharer *sharers;  /* by their tables, the active image first */
	size_t sharer_count, sharer_capacity;
};

/*
 * Gathers the owners of the clusters of the window, of which bytes start to last were asked for.
 * Returns 0, or -1 with *err filled. Release it in any case.
 */
int q2_owners_gather(struct q2_owners *owners, struct qcow2_error *err);
void q2_owners_release(struct q2_owners *owners);

/* Finds the L1 entries that lead to the L2 tables of kept claims of more than one reference. */
int q2_owners_find_sharers(struct q2_owners *owners);

/* The sharers of a table are [first, first + count) of owners->sharers. Returns count. */
size_t q2_owners_sharers(const struct q2_owners *owners, uint64_t l2_table, size_t *first);

/* The last byte of a claim, which has one byte at least. */
static inline uint64_t q2_claim_last(const struct qcow2_claim *claim)
{
	const uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);

	return last < claim->offset_bytes ? UINT64_MAX : last;
}

#endif
