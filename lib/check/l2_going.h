/* SPDX-License-Identifier: MIT */
/* How the ways to count the entries of an L2 table share it: one table that is gone through. */
#ifndef Q2_CHECK_L2_GOING_H
#define Q2_CHECK_L2_GOING_H

#include "check/l2_table.h"
#include "check/tally.h"
#include "format/l2_table.h"

#include <qcow2/entry.h>

#define Q2_L2_OFFSET QCOW2_ENTRY_MASK(l2_entry, offset)
#define Q2_L2_COPIED QCOW2_ENTRY_MASK(l2_entry, copied)

/* A table that is gone through, and how far. */
struct q2_l2_going {
	struct q2_worker *worker;
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	const struct q2_l2_ref *ref;
	const uint8_t *bytes;
	uint64_t entries;
	uint64_t not_plain; /* bits that make an entry anything but plain */
	uint64_t follows;   /* offset that would not be a fragment, or 0 */
	bool faulty;
	bool used; /* an entry is not 0 */
};

static inline uint64_t q2_l2_going_entry(const struct q2_l2_going *g, uint64_t index)
{
	return q2_l2_entry_at(g->bytes, index, g->geometry->l2_entry_bytes);
}

static inline uint64_t q2_l2_going_subclusters(const struct q2_l2_going *g, uint64_t index)
{
	return q2_l2_subclusters_at(g->bytes, index, g->geometry->l2_entry_bytes);
}

/* Clusters that the active image has allocated, for the statistics that qemu-img prints. */
static inline void q2_l2_going_allocated(struct q2_l2_going *g, uint64_t offset, uint64_t clusters)
{
	if (g->ref->active == 0)
		return;
	g->worker->allocated += clusters * g->ref->active;
	if (g->follows != 0 && g->follows != offset)
		g->worker->fragmented += g->ref->active;
	g->follows = offset + (clusters << g->geometry->cluster_bits);
}

/*
 * Whether an extended entry says of a subcluster that it is allocated and reads as zeros. Only for
 * entries of 16 bytes, which spares the loop over a run a question.
 */
static inline bool q2_l2_going_contradicts(const struct q2_l2_going *g, uint64_t index)
{
	struct qcow2_l2_subclusters subclusters =
		qcow2_l2_subclusters_decode(q2_l2_subclusters_at(g->bytes, index, 16));

	return (subclusters.allocated & subclusters.zeroes) != 0;
}

/*
 * The cluster of a plain entry; of any other, a number that is 0 or above every cluster, as bits
 * that a plain entry does not have are above those of its cluster, or come to be.
 */
static inline uint64_t q2_l2_going_cluster(uint64_t entry, unsigned cluster_bits)
{
	uint64_t plain = entry & ~Q2_L2_COPIED;

	return plain >> cluster_bits | plain << (64 - cluster_bits);
}

/* The highest cluster of a plain entry. */
static inline uint64_t q2_l2_going_last(const struct q2_l2_going *g)
{
	const uint64_t end = g->geometry->file_size_bytes - 1;

	return (end < Q2_L2_OFFSET ? end : Q2_L2_OFFSET) >> g->geometry->cluster_bits;
}

/* Whether references are tallied, as far as their counts fit. */
static inline bool q2_l2_going_tallies(const struct q2_l2_going *g)
{
	return g->worker->tallying && g->ref->weight <= Q2_TALLY_MOST;
}

/*
 * Counts plain entries from index on that snapshots share, or may share, but for long runs. Returns
 * the index of the first entry that it leaves to others.
 */
uint64_t q2_l2_visit_shared(struct q2_l2_going *g, uint64_t index);

/*
 * Counts plain entries of 8 bytes from index on that lead here and there, of the active image and of
 * one L1 entry, all with the copied flag or none: what a bit set counts. Returns as
 * q2_l2_visit_shared().
 */
uint64_t q2_l2_visit_scattered(struct q2_l2_going *g, uint64_t index, enum qcow2_claim_use use);

/* Counts compressed clusters from index on that break no rule. Returns as q2_l2_visit_shared(). */
uint64_t q2_l2_visit_compressed(struct q2_l2_going *g, uint64_t index);

#endif
