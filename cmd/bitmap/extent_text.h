/* SPDX-License-Identifier: MIT */
/*
 * The text of extents. There may be many millions, so that nothing but digits is made for each, and
 * those of lengths that come again only once: the rest is copied.
 */
#ifndef CMD_BITMAP_EXTENT_TEXT_H
#define CMD_BITMAP_EXTENT_TEXT_H

#include "bitmap/run.h"

#define EXTENT_WORDS_MAX 32
/* 12 bytes, 20 digits, and 18 bytes. */
#define EXTENT_TAIL_MAX 54
#define EXTENT_TAILS    64
/* The most that the text of an extent takes. */
#define EXTENT_TEXT_MAX 128

/* Text that is copied as a whole, whatever its size. */
struct extent_words {
	uint8_t size;
	char text[EXTENT_WORDS_MAX];
};

/* What stands behind the start of an extent of a length. */
struct extent_tail {
	uint64_t length_bytes; /* 0: none */
	uint64_t missed_bytes; /* the length that was looked for last, and was not this one */
	uint8_t dirty, size;
	char text[EXTENT_TAIL_MAX];
};

struct extent_text {
	bool begun; /* an extent was added */
	/* What stands before the start, with the digits of `high`: all of it but the last eight. */
	struct extent_words head;
	uint64_t high;
	uint8_t begin_size; /* of the head, without digits */
	struct extent_words middle;
	struct extent_words ends[2]; /* what stands behind the length, of clean and dirty */
	struct extent_tail tails[EXTENT_TAILS];
};

/* Begins the text of a format; and says that the first extent was added. */
void extent_text_begin(struct extent_text *text, enum bitmap_format format);
void extent_text_go_on(struct extent_text *text);

/* Adds extents; the brackets of an array are the caller's. */
void extent_text_add(struct extent_text *text, struct spool *out,
		     const struct qcow2_dirty_extent *extents, size_t count);

#endif
