/* SPDX-License-Identifier: MIT */
/* The repair of bitmaps as a part of a larger one. */
#ifndef Q2_EDIT_BITMAP_REPAIR_PART_H
#define Q2_EDIT_BITMAP_REPAIR_PART_H

#include <qcow2/bitmap_edit.h>

#include "edit/bitmap_trust/within.h"

/*
 * As qcow2_bitmap_repair(), with three differences if within is not NULL. Clusters come from
 * within->take(), and no refcount is written. What needs a decision is told and left, while the rest
 * is mended. A bitmap that is left, and that nobody could tell from a sound one once refcounts are
 * right and no cluster has two users, is marked as in use.
 */
int q2_bitmap_repair_within(struct qcow2_plan *plan,
			    const struct qcow2_bitmap_repair_options *options,
			    const struct q2_bitmap_within *within, struct qcow2_error *err);

#endif
