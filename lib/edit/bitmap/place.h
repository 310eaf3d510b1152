/* SPDX-License-Identifier: MIT */
/*
 * Finds clusters for all that is new in a plan of bitmaps. A file grows if it must. On a full
 * device, clusters that the change itself gives up are used again.
 */
#ifndef Q2_EDIT_BITMAP_PLACE_H
#define Q2_EDIT_BITMAP_PLACE_H

#include "edit/bitmap/editor.h"

/* The size of the runs in which data are stored, if there is free space of that size. */
#define Q2_BITMAP_RUN_BYTES ((size_t)1 << 20)

/*
 * Opens editor->allocator and takes clusters: entries of new tables, the tables' offsets and
 * *directory are set, nothing is planned. distrusted: refcounts may be too low, so that nothing
 * before the end of the file is taken. editor->reuses is set if clusters that are given up may have
 * been taken. Errors: QCOW2_ERROR_LIMIT (full: the text says how much is missing and what would
 * make room), those of q2_allocator_take().
 */
int q2_bitmaps_place(struct qcow2_bitmap_editor *editor, bool distrusted, uint64_t *directory,
		     struct qcow2_error *err);

#endif
