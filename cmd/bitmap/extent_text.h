/* SPDX-License-Identifier: MIT */
/*
 * The text of extents. There may be many millions, so that what stays the same from one to the next
 * is made once.
 */
#ifndef CMD_BITMAP_EXTENT_TEXT_H
#define CMD_BITMAP_EXTENT_TEXT_H

#include "bitmap/run.h"

#define EXTENT_TAILS     256
#define EXTENT_TEXT_MAX  64
#define EXTENT_HEAD_LESS UINT64_C(100000000) /* eight digits are not in a head */

/* Text up to, or from, the digits that change; copied as a whole. */
struct extent_piece {
	uint64_t number;
	bool made, dirty;
	uint8_t size;
	char text[EXTENT_TEXT_MAX];
};

/* All zeros before the first, but for the format. */
struct extent_text {
	enum bitmap_format format;
	bool begun;
	struct extent_piece head; /* with all but the last eight digits of the start */
	struct extent_piece tails[EXTENT_TAILS]; /* of some lengths */
};

/* Adds one extent; the brackets of an array are the caller's. */
void extent_text_show(struct extent_text *text, struct spool *out,
		      const struct qcow2_dirty_extent *extent);

#endif
