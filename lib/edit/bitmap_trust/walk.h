/* SPDX-License-Identifier: MIT */
/*
 * Goes through a bitmap directory without believing the extension: finds every entry, whatever
 * count and size are claimed.
 */
#ifndef Q2_EDIT_BITMAP_TRUST_WALK_H
#define Q2_EDIT_BITMAP_TRUST_WALK_H

#include <qcow2/image.h>

struct q2_directory_walk {
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_bitmaps_extension claimed; /* what the extension says */
	uint64_t count, used;                   /* entries so far, and their bytes */
	bool holes;                             /* there were zeros in place of entries */
	const struct qcow2_bitmap *bitmap;      /* the entry that was found last */
	bool is_hole;                           /* it is all zeros */
};

/* Errors: those of qcow2_bitmaps_open(). */
int q2_directory_walk_open(struct q2_directory_walk *walk, const struct qcow2_image *image,
			   struct qcow2_error *err);
void q2_directory_walk_close(struct q2_directory_walk *walk);

/*
 * Reads the next entry; walk->bitmap lives until the next call. Returns 1, 0 at the end, or -1 as
 * qcow2_bitmaps_next().
 */
int q2_directory_walk_next(struct q2_directory_walk *walk, struct qcow2_error *err);

#endif
