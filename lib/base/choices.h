/* SPDX-License-Identifier: MIT */
/* The names that there are, as many as fit, for an error about a name that there is not. */
#ifndef Q2_BASE_CHOICES_H
#define Q2_BASE_CHOICES_H

#include <qcow2/base.h>

/* As many bytes of names as errors about bitmaps have room for. */
#define Q2_CHOICES_ROOM 100

/* A list of names with commas between, in memory of the caller. Zero all but text and room. */
struct q2_choices {
	char *text;  /* NUL terminated once a name was added */
	size_t room; /* bytes of text, at least 16 */
	size_t size; /* of what is in text, without the NUL */
	bool full;   /* names were left out, which text shows with "…" */
};

/* Adds a name, escaped. An empty one is left out. */
void q2_choices_add(struct q2_choices *choices, struct qcow2_bytes name);

#endif
