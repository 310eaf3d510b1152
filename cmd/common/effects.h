/* SPDX-License-Identifier: MIT */
/* What a change means for the user: a line for each thing that it changed. */
#ifndef CMD_COMMON_EFFECTS_H
#define CMD_COMMON_EFFECTS_H

#include "out/spool.h"

/* Lines. All zeros: none. */
struct effects {
	struct spool lines;
	uint64_t count;
};

/* Adds a line, as printf() without the newline. What comes from an image or a user is escaped. */
void effects_add(struct effects *effects, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Writes the lines; those that were not kept are counted. */
void effects_show(const struct effects *effects, struct spool *out);

void effects_release(struct effects *effects);

#endif
