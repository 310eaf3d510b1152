/* SPDX-License-Identifier: MIT */
/*
 * Who else uses bytes of the file: what repairs of L1 and L2 tables ask before they write into a
 * table, or believe that a cluster belongs to an entry. All questions of a round are collected, and
 * answered by one walk through the claims.
 *
 * L2 tables that do not start at a cluster boundary do not count, nor do their entries: programs
 * refuse to read them.
 */
#ifndef Q2_REPAIR_L2_USES_H
#define Q2_REPAIR_L2_USES_H

#include "repair/mapping/l2_entry.h"
#include "repair/repair.h"

#include <qcow2/claims.h>

/* The most clusters that are asked for in a round; others wait for the next one. */
#define Q2_USES_CLUSTERS_MOST ((size_t)1 << 16)

/* Whose L2 entry asks: the list of its L1 table (claims/l2.h), the index there, and the entry. */
struct q2_use_key {
	uint32_t list, l1_index, entry;
};

/* The key of what is no L2 entry. */
#define Q2_USE_OF_NONE UINT32_MAX

/* Bytes of a table that are to be written. */
struct q2_use_area {
	uint64_t start, end; /* in the file */
	uint64_t table;      /* where the table starts */
	enum qcow2_claim_part part;
	bool contested; /* something else uses some of the bytes */
};

/*
 * A cluster that may belong to who asks: if its refcount is larger than the references that there
 * are, one of them is missing. Only what is used for the same as it would be may be shared.
 */
struct q2_use_cluster {
	uint64_t offset;
	struct q2_use_key key;
	uint64_t others; /* references that there are */
	bool contested;  /* something of another kind uses it, or somebody else asks as well */
};

struct q2_uses {
	struct q2_repair *repair;
	struct q2_use_area *areas;
	size_t area_count, area_capacity;
	struct q2_use_cluster *clusters;
	size_t cluster_count, cluster_capacity;
	struct q2_use_key *refused; /* L2 tables that do not count */
	size_t refused_count, refused_capacity;
	bool refused_sorted;
	uint64_t longest; /* of the areas */
	uint64_t steps;   /* that the walk took */
};

/* All return 0, or -1 with repair->err filled. */
int q2_uses_add_area(struct q2_uses *uses, const struct q2_use_area *area);
int q2_uses_add_cluster(struct q2_uses *uses, uint64_t offset, struct q2_use_key key);
/* Answers all questions that were added. */
int q2_uses_walk(struct q2_uses *uses);
/* What was found of a cluster; one that was not asked for is owned by nobody. */
int q2_uses_owned(const struct q2_uses *uses, uint64_t offset, enum q2_owned *owned);

/* Whether something else uses bytes of the area that starts there. */
bool q2_uses_contests(const struct q2_uses *uses, uint64_t start);

void q2_uses_release(struct q2_uses *uses);

#endif
