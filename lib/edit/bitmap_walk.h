/* SPDX-License-Identifier: MIT */
/*
 * Goes through a bitmap directory whose extension is not to be believed: every entry that can be
 * found, whatever count and size are claimed.
 */
#ifndef QCOW2_EDIT_BITMAP_WALK_H
#define QCOW2_EDIT_BITMAP_WALK_H

#include <qcow2/image.h>

struct qcow2_directory_walk {
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_bitmaps_extension claimed; /* what the extension says */
	uint64_t count, used;                   /* entries so far, and their bytes */
	bool holes;                             /* there were zeros where an entry has to be */
	struct qcow2_bitmap bitmap;             /* the entry that was found last */
	bool is_hole;                           /* it is all zeros */
};

/* Errors: those of qcow2_bitmaps_open(). */
int qcow2_directory_walk_open(struct qcow2_directory_walk *walk, const struct qcow2_image *image,
			      struct qcow2_error *err);
void qcow2_directory_walk_close(struct qcow2_directory_walk *walk);

/* The next entry into walk->bitmap: 1; 0 at the end; -1 as qcow2_bitmaps_next(). */
int qcow2_directory_walk_next(struct qcow2_directory_walk *walk, struct qcow2_error *err);

#endif
