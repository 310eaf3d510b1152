/* SPDX-License-Identifier: MIT */
/* The bitmaps of an editor: a list in memory, in the order of the directory. */
#ifndef Q2_EDIT_BITMAP_LIST_H
#define Q2_EDIT_BITMAP_LIST_H

#include "edit/bitmap/editor.h"

/*
 * Appends what an entry of the directory says, its extra data included. Errors: QCOW2_ERROR_LIMIT
 * (over 2^20 bitmaps), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_bitmap_editor_take(struct qcow2_bitmap_editor *editor, const struct qcow2_bitmap *bitmap,
			  struct qcow2_error *err);

/* Appends a new bitmap, which belongs to the editor; NULL if memory is short. */
struct q2_edited_bitmap *q2_bitmap_editor_append(struct qcow2_bitmap_editor *editor,
						 struct qcow2_bytes name);

/* Takes the bitmap at an index out of the list; its clusters are the caller's to give up. */
void q2_bitmap_editor_drop(struct qcow2_bitmap_editor *editor, size_t at);

/* Gives the bitmap at an index another name, and tells the plan. False if memory is short. */
bool q2_bitmap_editor_rename(struct qcow2_bitmap_editor *editor, size_t at,
			     struct qcow2_bytes name);

struct qcow2_bytes q2_edited_name(const struct q2_edited_bitmap *bitmap);

/* Frees a bitmap and what it has in memory. */
void q2_edited_release(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap);

#endif
