/* SPDX-License-Identifier: MIT */
/*
 * Names who uses clusters that are wrong, by going through all metadata once more: only if there is
 * something to name, and only for the clusters that will be told.
 */
#ifndef Q2_CHECK_OWNERS_H
#define Q2_CHECK_OWNERS_H

#include "check/run.h"

/* The clusters to name, by cluster; each has room for owners. */
struct q2_named {
	struct q2_bad_cluster **items;
	size_t count;
};

/* Fills the owners of all of them. 0, or -1 with check->err filled. */
int q2_owners_find(struct q2_check *check, const struct q2_named *named);

/* The claim that an owner has made, as far as it is kept: enough for qcow2_claim_where(). */
struct qcow2_claim q2_owner_claim(const struct q2_bad_owner *owner);

#endif
