/* SPDX-License-Identifier: MIT */
/* Which of the clusters that a change gives up it may use again, on a device that is full. */
#ifndef Q2_EDIT_BITMAP_RECLAIM_H
#define Q2_EDIT_BITMAP_RECLAIM_H

#include "edit/bitmap/editor.h"

/*
 * Puts into *unused, sorted, those of editor->given_up that nothing refers to once the change is
 * made. A check of the image without them proves it; if that check finds a corruption, *unused
 * stays empty. Errors: those of qcow2_check(), QCOW2_ERROR_MEMORY.
 */
int q2_bitmaps_find_unused(struct qcow2_bitmap_editor *editor, struct q2_vector *unused,
			   struct qcow2_error *err);

#endif
