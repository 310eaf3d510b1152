/* SPDX-License-Identifier: MIT */
/*
 * The problems that an image has, to tell whether one of a changed image is new. What a problem
 * says counts, not only where it is: a leak that was there does not excuse that its cluster lost
 * the pointer to it as well. What has become less wrong, in a way that leaves no doubt, is known.
 */
#ifndef Q2_GUARDS_KNOWN_H
#define Q2_GUARDS_KNOWN_H

#include <qcow2/problem.h>

#include "guards/inventory.h"

struct q2_known {
	struct q2_vector list;
	struct q2_name_set first; /* the index of the first problem of a kind at a place */
	struct q2_hash_key key;
	bool short_of_memory;
};

/* Allocates nothing. */
void q2_known_init(struct q2_known *known);
void q2_known_release(struct q2_known *known);

/* Remembers a problem of the image that the inventory is of. */
void q2_known_add(struct q2_known *known, const struct qcow2_problem *problem,
		  const struct q2_inventory *inventory);

/*
 * Whether a problem of the changed image, which has the other inventory, is one that was added and
 * no worse than it was. Each problem that was added answers for one.
 */
bool q2_known_take(struct q2_known *known, const struct qcow2_problem *problem,
		   const struct q2_inventory *inventory);

#endif
