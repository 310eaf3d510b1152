/* SPDX-License-Identifier: MIT */
/* See options.h. */
#include "common/options.h"

#include <getopt.h>
#include <string.h>

#include "common/help.h"
#include "common/report.h"

#define OPTIONS_MAX 32

/* Makes the tables that getopt_long() wants from the rows. */
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

/* Returns how many long options begin with the part of `word` before '='. */
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

bool options_output(const struct command *command, const char *value, bool *json)
{
	*json = strcmp(value, "json") == 0;
	if (*json || strcmp(value, "human") == 0)
		return true;
	usage_error(command, "--output is human or json, not '%s'", value);
	return false;
}
