/* SPDX-License-Identifier: MIT */
/* The commands of steps, as lines for a shell. The caller frees them. */
#ifndef CHECK_STEPS_LINE_H
#define CHECK_STEPS_LINE_H

#include "check/steps.h"

/*
 * A command, and behind it the image and what follows its name. NULL if memory is short: then steps
 * knows.
 */
char *check_steps_line(struct check_steps *steps, const char *before, const char *file,
		       const char *after);

#endif
