/* SPDX-License-Identifier: MIT */
/*
 * The problems of the image before a plan, to tell which problems of the planned image are new. A
 * problem is known if one of its kind at its place says the same or worse. So a leak that is there
 * already does not hide that its cluster loses a pointer, and a count that comes nearer to the
 * references is no new problem.
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

/* Adds a problem of the image before; `inventory` is that of this image. */
void q2_known_add(struct q2_known *known, const struct qcow2_problem *problem,
		  const struct q2_inventory *inventory);

/*
 * Whether a problem of the planned image, whose inventory is given, is known. Each problem that was
 * added answers for one.
 */
bool q2_known_take(struct q2_known *known, const struct qcow2_problem *problem,
		   const struct q2_inventory *inventory);

#endif
