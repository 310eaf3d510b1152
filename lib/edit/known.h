/* SPDX-License-Identifier: MIT */
/*
 * The problems that an image has, to tell whether one of a changed image is new. What a problem
 * says counts, not only where it is: a leak that was there does not excuse that its cluster lost
 * the pointer to it as well. What has become less wrong, in a way that leaves no doubt, is known.
 */
#ifndef QCOW2_EDIT_KNOWN_H
#define QCOW2_EDIT_KNOWN_H

#include <qcow2/problem.h>

#include "edit/inventory.h"

struct qcow2_known {
	struct qcow2_vector list;
	struct qcow2_name_set first; /* the index of the first problem of a kind at a place */
	struct qcow2_hash_key key;
	bool short_of_memory;
};

/* Allocates nothing. */
void qcow2_known_init(struct qcow2_known *known);
void qcow2_known_release(struct qcow2_known *known);

/* Remembers a problem of the image that the inventory is of. */
void qcow2_known_add(struct qcow2_known *known, const struct qcow2_problem *problem,
		     const struct qcow2_inventory *inventory);

/*
 * Whether a problem of the changed image, which has the other inventory, is one that was added and
 * no worse than it was. Each problem that was added answers for one.
 */
bool qcow2_known_take(struct qcow2_known *known, const struct qcow2_problem *problem,
		      const struct qcow2_inventory *inventory);

#endif
