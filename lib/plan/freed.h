/* SPDX-License-Identifier: MIT */
/* The clusters that a plan frees: an undo needs their content, and proof that nobody used them. */
#ifndef Q2_PLAN_FREED_H
#define Q2_PLAN_FREED_H

#include "plan/places.h"

/*
 * Finds the clusters that are counted in the file as it is and not counted in the file as it will
 * be, without the places in `changed`; and the byte with the flags of each bitmap whose directory
 * entry stays where it is. *freed is empty if either file is no image with refcounts. The caller
 * releases *freed.
 *
 * Errors: QCOW2_ERROR_LIMIT (over Q2_WRITES_MOST places, or a refcount table that names the same
 * block again and again), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_plan_freed(struct qcow2_plan *plan, const struct q2_places *changed, struct q2_places *freed,
		  struct qcow2_error *err);

#endif
