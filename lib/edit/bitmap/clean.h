/* SPDX-License-Identifier: MIT */
/* The end of a plan of bitmaps: what is no longer used becomes free. */
#ifndef Q2_EDIT_BITMAP_CLEAN_H
#define Q2_EDIT_BITMAP_CLEAN_H

#include "edit/bitmap/editor.h"

/*
 * Plans lower refcounts, in the phase clean. Only a check knows whether something else refers to a
 * cluster that a damaged table named. So clusters that were given up are freed if, and as far as, a
 * check of the planned image finds that they are counted too often. Errors: those of qcow2_check()
 * and q2_allocator_plan().
 */
int q2_bitmaps_clean(struct qcow2_bitmap_editor *editor, struct qcow2_error *err);

#endif
