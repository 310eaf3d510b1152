/* SPDX-License-Identifier: MIT */
/* See steps_line.h. */
#include "check/steps_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/text.h>

char *check_steps_line(struct check_steps *steps, const char *before, const char *file,
		       const char *after)
{
	size_t size = 4 * strlen(file) + 64 + strlen(before) + strlen(after) + 1;
	char *line = malloc(size);
	size_t used;

	if (!line) {
		steps->short_of_memory = true;
		return NULL;
	}
	used = (size_t)snprintf(line, size, "%s", before);
	used += qcow2_text_shell_file(file, line + used, size - used);
	snprintf(line + used, size - used, "%s", after);
	return line;
}
