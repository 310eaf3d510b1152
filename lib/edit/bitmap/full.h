/* SPDX-License-Identifier: MIT */
/* What a person needs to know where a device has no room for bitmaps. */
#ifndef Q2_EDIT_BITMAP_FULL_H
#define Q2_EDIT_BITMAP_FULL_H

#include "edit/bitmap/editor.h"

/*
 * Fails with QCOW2_ERROR_LIMIT: how many clusters are needed, how many can be had, and what would
 * make room. editor->allocator is one that has taken nothing yet. Returns -1.
 */
int q2_bitmaps_fail_full(struct qcow2_bitmap_editor *editor, bool distrusted,
			 struct qcow2_error *err);

#endif
