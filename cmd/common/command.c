/* SPDX-License-Identifier: MIT */
/* Options, help and messages, all from the descriptions of the commands. See command.h. */
#include "common/command.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "out/spool.h"

#include <qcow2/text.h>

#define OPTIONS_MAX 32
#define HELP_LETTER 'h'

/* File names and arguments are a user's or an attacker's: they are escaped like anything else. */
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
	char name[4096];

	fprintf(stderr, "qcow2 %s: %s: %s", command->name,
		file[0] ? safe(file, name, sizeof(name)) : "''", err->text);
	if (err->offset_bytes != QCOW2_NO_OFFSET)
		fprintf(stderr, " (at offset 0x%" PRIx64 ")", err->offset_bytes);
	fputc('\n', stderr);
	return EXIT_COULD_NOT;
}

int finish_output(const struct command *command, struct spool *spool, int code)
{
	bool written = spool_finish(spool);

	if (!written) {
		fprintf(stderr, "qcow2%s%s: standard output: %s\n", command ? " " : "",
			command ? command->name : "", strerror(spool->errnum));
		code = EXIT_COULD_NOT;
	}
	return code;
}

static void print_option(struct spool *out, const struct option_row *row)
{
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", row->letter ? '-' : ' ',
		 row->letter ? row->letter : ' ', row->letter ? ", " : "  ", row->name,
		 row->argument ? "=" : "", row->argument ? row->argument : "");
	spool_print(out, "  %-26s %s\n", left, row->help);
}

int print_help(const struct command *command)
{
	static const struct option_row help = {"help", HELP_LETTER, NULL,
					       "print this help and exit", NULL};
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	spool_print(&out, "Usage: qcow2 %s [OPTIONS] %s\n%s\n\nOptions:\n", command->name,
		    command->operands, command->summary);
	for (size_t i = 0; i < command->option_count; i++)
		print_option(&out, &command->options[i]);
	print_option(&out, &help);
	if (command->notes)
		spool_print(&out, "\n%s", command->notes);
	code = finish_output(command, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

/* The tables that getopt_long() wants, made from the rows. */
static void make_tables(const struct command *command, struct option *longs, char *shorts)
{
	size_t at = 0;

	shorts[at++] = ':';
	shorts[at++] = HELP_LETTER;
	for (size_t i = 0; i < command->option_count; i++) {
		const struct option_row *row = &command->options[i];

		longs[i] =
			(struct option){row->name, row->argument ? required_argument : no_argument,
					NULL, (int)(256 + i)};
		if (row->letter) {
			shorts[at++] = row->letter;
			if (row->argument)
				shorts[at++] = ':';
		}
	}
	longs[command->option_count] = (struct option){"help", no_argument, NULL, HELP_LETTER};
	longs[command->option_count + 1] = (struct option){NULL, 0, NULL, 0};
	shorts[at] = '\0';
}

/* How many long options begin with what stands before the '=' of word. */
static size_t count_meant(const struct command *command, const char *word)
{
	size_t length = strcspn(word, "="), count = strncmp("help", word, length) == 0;

	for (size_t i = 0; i < command->option_count; i++)
		count += strncmp(command->options[i].name, word, length) == 0;
	return count;
}

/*
 * Says what getopt_long() did not like. It leaves a letter in optopt, or for a long option 0 if
 * none or several were meant, else the option's value. A letter above 127 may be negative.
 */
static int wrong_option(const struct command *command, int found, const char *word)
{
	bool is_long = optopt == 0 || optopt >= 256 || optopt == HELP_LETTER;

	if (found == ':')
		return usage_error(command, "option '%s' needs an argument", word);
	if (!is_long)
		return usage_error(command, "unknown option '-%c'", optopt);
	if (optopt != 0)
		return usage_error(command, "option '%s' takes no argument", word);
	return usage_error(command, "%s option '%s'",
			   count_meant(command, word + 2) > 1 ? "ambiguous" : "unknown", word);
}

int options_next(const struct command *command, int argc, char **argv, const char **value,
		 int *exit_code)
{
	struct option longs[OPTIONS_MAX + 2];
	char shorts[2 * OPTIONS_MAX + 3];
	int found;

	make_tables(command, longs, shorts);
	opterr = 0;
	found = getopt_long(argc, argv, shorts, longs, NULL);
	*value = optarg;
	if (found == -1)
		return OPTIONS_END;
	if (found >= 256)
		return found - 256;
	for (size_t i = 0; i < command->option_count; i++)
		if (command->options[i].letter && command->options[i].letter == found)
			return (int)i;
	if (found == HELP_LETTER)
		*exit_code = print_help(command);
	else
		*exit_code = wrong_option(command, found, argv[optind - 1]);
	return OPTIONS_STOP;
}

bool wants_colour(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && no_color[0]) && term &&
	       strcmp(term, "dumb") != 0;
}

bool options_output(const struct command *command, const char *value, bool *json)
{
	*json = strcmp(value, "json") == 0;
	if (*json || strcmp(value, "human") == 0)
		return true;
	usage_error(command, "--output is human or json, not '%s'", value);
	return false;
}
