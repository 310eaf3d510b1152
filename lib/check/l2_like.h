/* SPDX-License-Identifier: MIT */
/* Whether the content of a cluster reads as an L2 table of the image. */
#ifndef Q2_CHECK_L2_LIKE_H
#define Q2_CHECK_L2_LIKE_H

#include "check/run.h"

/* What a cluster holds. */
enum q2_content {
	Q2_CONTENT_ZEROS,
	Q2_CONTENT_DATA, /* anything else */
	Q2_CONTENT_L2_TABLE,
};

/* Where a table that was found leads: as many of its clusters as are remembered. */
#define Q2_L2_LIKE_SAMPLE 64

/* The reader, and what it has found out of the cluster that it read last. */
struct q2_l2_like {
	struct q2_check *check;
	uint8_t *buffer;       /* of Q2_PIECE_BYTES */
	bool of_free_clusters; /* the table may lead to clusters that count as free */
	bool needs_flags;      /* see q2_l2_like_read() */
	uint64_t read_bytes;   /* in all */
	uint64_t flagged;      /* entries with the copied flag, or compressed ones */
	uint64_t targets;      /* entries that lead to clusters of the file */
	uint64_t stride;       /* every so many of them is in the sample */
	unsigned sampled;
	uint64_t sample[Q2_L2_LIKE_SAMPLE]; /* clusters */
};

/*
 * Reads a cluster, as far as needed, and says in *content what it holds. It is an L2 table if each
 * of its entries obeys the rules, none leads to the cluster of the one before, and at least half of
 * the clusters they lead to have more references by their refcounts than there are. With
 * needs_flags, at least one entry has to have the copied flag, or to be compressed: tables of
 * bitmaps, which may leak as well, read as L2 tables else. 0, or -1 with check->err filled.
 */
int q2_l2_like_read(struct q2_l2_like *like, uint64_t cluster, enum q2_content *content);

/*
 * Whether a reference to a cluster is missing, as its refcount is larger than the references that
 * there are. With of_free_clusters, it is enough that nothing refers to it. As q2_l2_like_read().
 */
int q2_l2_like_lacks(const struct q2_l2_like *like, uint64_t cluster, bool *lacks);

/*
 * Calls visit for every cluster that the L2 table in a cluster leads to. As q2_l2_like_read().
 */
int q2_l2_like_targets(struct q2_l2_like *like, uint64_t cluster,
		       void (*visit)(void *opaque, uint64_t target), void *opaque);

#endif
