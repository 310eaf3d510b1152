/* SPDX-License-Identifier: MIT */
/* What becomes of one damaged bitmap. See mend.c. */
#ifndef Q2_EDIT_BITMAP_REPAIR_MEND_H
#define Q2_EDIT_BITMAP_REPAIR_MEND_H

#include "edit/bitmap_repair/run.h"

/* Whether a bitmap of that entry can be made all dirty, so that QEMU takes it. */
bool q2_bitmap_repair_can_be_dirty(const struct q2_bitmap_repair_run *r,
				   const struct qcow2_bitmap_dir_entry *entry);

/*
 * Whether a bitmap's bits cannot be believed because of its clusters, and its entry does not say so:
 * refcounts, or other users. Once these are mended, nothing tells it any more.
 */
bool q2_bitmap_repair_is_doubtful(const struct q2_bitmap_repair_run *r,
				  const struct qcow2_bitmap *bitmap);

/*
 * Mends, drops or makes all dirty r->bitmap, which is the last one of the editor's list; what needs
 * a decision of the caller's is told and left. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO,
 * QCOW2_ERROR_LIMIT.
 */
int q2_bitmap_repair_bitmap(struct q2_bitmap_repair_run *r);

#endif
