/* SPDX-License-Identifier: MIT */
/*
 * See picture_kinds.h. Each block sets its background as well as its character's colour, so that it
 * reads the same on dark and light terminals; only what is unused shows the terminal's own.
 */
#include "layout/picture_kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of xterm's 256 colours; below 16 terminals have their own shades. */
#define BLACK 16
#define WHITE 231
#define GREY  244
/* The terminal's own background, as 256 colours and as 16. */
#define OWN    (-1)
#define OWN_16 49

/* Foreground and background, of xterm and as numbers of the 16 colours. */
struct look {
	const char *glyph;
	int fore, back;
	int fore_16, back_16;
};

static const struct look looks[QCOW2_USAGE_KINDS] = {
	[QCOW2_USAGE_HEADER] = {"H", WHITE, 240, 30, 47},
	[QCOW2_USAGE_REFCOUNT_TABLE] = {"R", BLACK, 178, 30, 43},
	[QCOW2_USAGE_REFCOUNT_BLOCK] = {"r", BLACK, 227, 30, 43},
	[QCOW2_USAGE_L1_TABLE] = {"1", BLACK, 172, 30, 43},
	[QCOW2_USAGE_L2_TABLE] = {"2", BLACK, 214, 30, 43},
	[QCOW2_USAGE_DATA] = {"█", 25, 25, 34, 44},
	[QCOW2_USAGE_COMPRESSED] = {"▚", 74, 110, 36, 44},
	[QCOW2_USAGE_SNAPSHOT_ONLY] = {"▒", 139, 175, 35, 47},
	[QCOW2_USAGE_SHARED] = {"▓", 29, 36, 32, 44},
	[QCOW2_USAGE_SNAPSHOT_TABLE] = {"S", WHITE, 90, 97, 45},
	[QCOW2_USAGE_BITMAP_DIRECTORY] = {"B", WHITE, 55, 97, 45},
	[QCOW2_USAGE_BITMAP_TABLE] = {"t", WHITE, 61, 97, 45},
	[QCOW2_USAGE_BITMAP_DATA] = {"b", BLACK, 141, 97, 45},
	[QCOW2_USAGE_CRYPTO] = {"K", WHITE, 94, 30, 46},
	[QCOW2_USAGE_CONFLICT] = {"X", WHITE, 160, 97, 41},
	[QCOW2_USAGE_LEAKED] = {"!", BLACK, 208, 97, 41},
	[QCOW2_USAGE_FREE] = {"░", GREY, OWN, 90, OWN_16},
	[QCOW2_USAGE_HOLE] = {"·", GREY, OWN, 90, OWN_16},
};

enum picture_colours picture_colours(bool colour)
{
	const char *term = getenv("TERM"), *more = getenv("COLORTERM");

	if (!colour)
		return PICTURE_PLAIN;
	if ((more && more[0]) || (term && (strstr(term, "256") || strstr(term, "direct"))))
		return PICTURE_256;
	return PICTURE_16;
}

const char *picture_glyph(enum qcow2_usage_kind kind)
{
	return looks[kind].glyph;
}

const char *picture_sequence(enum picture_colours colours, enum qcow2_usage_kind kind,
			     char buffer[PICTURE_SEQUENCE_MAX])
{
	const struct look *look = &looks[kind];

	buffer[0] = '\0';
	if (colours == PICTURE_16)
		snprintf(buffer, PICTURE_SEQUENCE_MAX, "\033[%d;%dm", look->fore_16, look->back_16);
	else if (colours == PICTURE_256 && look->back == OWN)
		snprintf(buffer, PICTURE_SEQUENCE_MAX, "\033[38;5;%dm", look->fore);
	else if (colours == PICTURE_256)
		snprintf(buffer, PICTURE_SEQUENCE_MAX, "\033[38;5;%d;48;5;%dm", look->fore,
			 look->back);
	return buffer;
}
