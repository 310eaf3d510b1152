/* SPDX-License-Identifier: MIT */
/* See report.h. */
#include "common/report.h"
#include "common/limits.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "out/spool.h"

#include <qcow2/text.h>

/* File names and arguments may come from an attacker: they are escaped as well. */
static const char *safe(const char *text, char *buffer, size_t size)
{
	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)text, strlen(text)}, buffer, size);
	return buffer;
}

int usage_error(const struct command *command, const char *format, ...)
{
	const char *name = command ? command->name : "";
	const char *blank = command ? " " : "";
	char text[512], escaped[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "qcow2%s%s: %s\nTry 'qcow2%s%s --help'.\n", blank, name,
		safe(text, escaped, sizeof(escaped)), blank, name);
	return EXIT_COULD_NOT;
}

int report_error(const struct command *command, const char *file, const struct qcow2_error *err)
{
	struct qcow2_error shown = *err;
	char name[4096];

	limits_explain(command, &shown);
	fprintf(stderr, "qcow2 %s: %s: %s", command->name,
		file[0] ? safe(file, name, sizeof(name)) : "''", shown.text);
	if (shown.offset_bytes != QCOW2_NO_OFFSET)
		fprintf(stderr, " (at offset 0x%" PRIx64 ")", shown.offset_bytes);
	fputc('\n', stderr);
	return EXIT_COULD_NOT;
}

int report_text(const struct command *command, const char *file, const char *text)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "%s", text);
	return report_error(command, file, &err);
}

int finish_output(const struct command *command, struct spool *spool, int code)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};
	bool written;

	if (command && limits_are_over(command))
		return EXIT_COULD_NOT;
	written = spool_finish(spool);
	if (!written) {
		snprintf(err.text, sizeof(err.text), "%s", strerror(spool->errnum));
		if (command)
			limits_explain(command, &err);
		fprintf(stderr, "qcow2%s%s: standard output: %s\n", command ? " " : "",
			command ? command->name : "", err.text);
		code = EXIT_COULD_NOT;
	}
	return code;
}

bool wants_silence(const struct command *command)
{
	return command->common && command->common->quiet;
}

bool wants_all(const struct command *command)
{
	return command->common && command->common->verbose;
}

bool wants_colour(const struct command *command)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (command->common && command->common->colour != COLOUR_AUTO)
		return command->common->colour == COLOUR_ALWAYS;
	return isatty(STDOUT_FILENO) && !(no_color && no_color[0]) && term &&
	       strcmp(term, "dumb") != 0;
}
