/* SPDX-License-Identifier: MIT */
/*
 * Lists of clusters whose refcount, copied flag or owners are wrong. An image may be all faults, so
 * a list keeps only the lowest clusters, up to a number, and counts the others. What it keeps
 * depends on the clusters alone, not on the order in which threads found them.
 */
#ifndef Q2_CHECK_BAD_LIST_H
#define Q2_CHECK_BAD_LIST_H

#include "base/memory.h"
#include "image/guest.h"

#include <qcow2/claims.h>

/* The kinds of problems that a cluster can have. */
enum q2_bad {
	Q2_BAD_REFCOUNT_LOW,
	Q2_BAD_REFCOUNT_HIGH,
	Q2_BAD_OVERFLOW,
	Q2_BAD_COPIED_SET,
	Q2_BAD_COPIED_CLEAR,
	Q2_BAD_OWNERS,
	Q2_BAD_KINDS
};

enum qcow2_problem_id q2_bad_id(enum q2_bad kind);

/* Who uses such a cluster: of its claim, what its path and its guest range follow from. */
struct q2_bad_owner {
	uint64_t part_of_index, index, entry;
	uint64_t weight;
	struct q2_guest_range guest;
	enum qcow2_claim_part part;
	enum qcow2_part_of part_of;
};

struct q2_bad_cluster {
	uint64_t cluster;
	uint64_t refcount; /* that the file says */
	uint64_t count;    /* references that there are */
	enum qcow2_problem_id id;
	unsigned owner_count;
	uint64_t owners_total;
	struct q2_bad_owner *owners; /* QCOW2_PROBLEM_OWNERS_MAX, once they are looked for */
};

/* One kind of bad clusters. Those from bound on are only counted if the list is full. */
struct q2_bad_list {
	struct q2_memory *memory;
	uint64_t most; /* that are kept */
	struct q2_bad_cluster *items;
	size_t count, capacity;
	uint64_t total;
	bool full;
	uint64_t bound;
};

/* An empty list that keeps the lowest `wanted` clusters, or as many as fit memory. */
void q2_bad_list_init(struct q2_bad_list *list, struct q2_memory *memory, uint64_t wanted);
void q2_bad_list_release(struct q2_bad_list *list);

/* Counts a cluster, and keeps it if it is one of the lowest. False if memory is short. */
bool q2_bad_list_add(struct q2_bad_list *list, const struct q2_bad_cluster *item);

/* Whether a cluster would only be counted. */
bool q2_bad_list_is_past(const struct q2_bad_list *list, uint64_t cluster);

/*
 * Adds what other has, which is empty afterwards, and sorts list, which may be other. False if
 * memory is short.
 */
bool q2_bad_list_merge(struct q2_bad_list *list, struct q2_bad_list *other);

#endif
