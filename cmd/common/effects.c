/* SPDX-License-Identifier: MIT */
/* See effects.h. */
#include "common/effects.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* The lines that are kept: a script may change more. */
#define LINES_MOST 1000

void effects_add(struct effects *effects, const char *format, ...)
{
	char line[2048];
	va_list arguments;

	if (effects->count == 0)
		spool_init(&effects->lines, STDOUT_FILENO);
	if (effects->count++ >= LINES_MOST)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	spool_print(&effects->lines, "%s\n", line);
}

void effects_show(const struct effects *effects, struct spool *out)
{
	if (effects->count == 0)
		return;
	spool_add(out, &effects->lines);
	if (effects->count > LINES_MOST)
		spool_print(out, "… and %" PRIu64 " more\n", effects->count - LINES_MOST);
}

void effects_release(struct effects *effects)
{
	if (effects->count > 0)
		spool_release(&effects->lines);
}
