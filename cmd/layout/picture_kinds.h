/* SPDX-License-Identifier: MIT */
/* What the kinds look like in the picture of a terminal. */
#ifndef CMD_LAYOUT_PICTURE_KINDS_H
#define CMD_LAYOUT_PICTURE_KINDS_H

#include <stdbool.h>

#include <qcow2/usage.h>

enum picture_colours {
	PICTURE_PLAIN, /* none */
	PICTURE_16,    /* those that every terminal with colours has */
	PICTURE_256,   /* those of xterm, whose shades are known */
};

/* Room for any sequence that sets colours, terminated. */
#define PICTURE_SEQUENCE_MAX 32

/* The colours of the terminal, as the environment tells. */
enum picture_colours picture_colours(bool colour);

/* The character of a kind: it takes one column, and no two kinds share it. */
const char *picture_glyph(enum qcow2_usage_kind kind);

/* Writes the sequence that sets the colours of a block, or nothing. Returns buffer. */
const char *picture_sequence(enum picture_colours colours, enum qcow2_usage_kind kind,
			     char buffer[PICTURE_SEQUENCE_MAX]);

#endif
