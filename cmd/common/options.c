/* SPDX-License-Identifier: MIT */
/* See options.h. */
#include "common/options.h"
#include "common/limits.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/help.h"
#include "common/option_rows.h"
#include "common/report.h"
#include "out/suggest.h"

#include <qcow2/number.h>

/* What getopt_long() returns for a long option: the index of its row, the command's rows first. */
#define FIRST_LONG 256

/* Makes the tables that getopt_long() wants from the rows. */
static void make_tables(const struct command *command, struct option *longs, char *shorts)
{
	const struct option_row *row;
	size_t at = 0, i = 0;

	shorts[at++] = ':';
	for (; (row = options_row(command, i)) != NULL; i++) {
		longs[i] = (struct option){row->name,
					   options_takes_word(row) ? required_argument
					   : row->argument         ? optional_argument
								   : no_argument,
					   NULL, (int)(FIRST_LONG + i)};
		if (row->letter) {
			shorts[at++] = row->letter;
			if (row->argument)
				shorts[at++] = ':';
		}
	}
	longs[i] = (struct option){NULL, 0, NULL, 0};
	shorts[at] = '\0';
}

/* Returns how many long options begin with the part of `word` before '='. */
static size_t count_meant(const struct command *command, const char *word)
{
	size_t length = strcspn(word, "="), count = 0;
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(command, i)) != NULL; i++)
		count += strncmp(row->name, word, length) == 0;
	return count;
}

/* Says that there is no such option, and which one may be meant. `word` may have a value. */
static int unknown_option(const struct command *command, const char *word)
{
	char text[SUGGEST_TEXT_MAX];

	return usage_error(command, "unknown option '%s'%s", word,
			   options_suggest(command, word + 2, text));
}

/* Whether a word is one that getopt_long() has not done with, and where a letter is the first. */
static bool is_name_of(const char *word, int letter)
{
	return word && letter > ' ' && letter < 0x7f && word[0] == '-' && word[1] == letter &&
	       word[2] != '\0';
}

/*
 * Says what getopt_long() did not like. It leaves a letter in optopt, or for a long option 0 if
 * none or several were meant, else the option's value. A letter above 127 may be negative.
 */
static int wrong_option(const struct command *command, int found, const char *word,
			const char *next)
{
	bool is_long = optopt == 0 || optopt >= FIRST_LONG;

	if (found == ':')
		return usage_error(command, "option '%s' needs an argument", word);
	if (!is_long)
		return usage_error(command, "unknown option '-%c'%s", optopt,
				   is_name_of(next, optopt)
					   ? "; a name with - in front stands behind --"
					   : "");
	if (optopt != 0)
		return usage_error(command, "option '%s' takes no argument", word);
	if (count_meant(command, word + 2) > 1)
		return usage_error(command, "ambiguous option '%s'", word);
	return unknown_option(command, word);
}

/* Takes a common option. False if the command is done; then *exit_code is set. */
static bool take_common(const struct command *command, const struct option_row *row,
			const char *value, int *exit_code)
{
	struct common *common = command->common;
	int word;

	*exit_code = EXIT_COULD_NOT;
	if (strcmp(row->name, "color") == 0) {
		word = options_word(command, row, value);
		if (common && word >= 0)
			common->colour = (enum colour_choice)word;
		return word >= 0;
	}
	if (!limits_take(command, row, value))
		return false;
	if (common && row->letter == 'q')
		common->quiet = true;
	if (common && row->letter == 'v')
		common->verbose = true;
	return true;
}

/* Notes whether the output is for programs. All commands call these options alike. */
static void note_output(const struct command *command, const struct option_row *row,
			const char *value)
{
	if (!command->common)
		return;
	if (strcmp(row->name, "json") == 0 || strcmp(row->name, "man") == 0 ||
	    strcmp(row->name, "binary") == 0)
		command->common->has_data = true;
	else if (strcmp(row->name, "output") == 0)
		command->common->has_data = strcmp(value, "human") != 0;
}

/* The row of what getopt_long() found, or NULL if it found none. */
static const struct option_row *row_of(const struct command *command, int found, size_t *index)
{
	const struct option_row *row;

	for (*index = 0; (row = options_row(command, *index)) != NULL; ++*index)
		if (found >= FIRST_LONG ? (size_t)found == FIRST_LONG + *index
					: row->letter && row->letter == found)
			return row;
	return NULL;
}

/*
 * What is done when all options are known. With --quiet nothing reaches standard output, however
 * it is written, unless it is data.
 */
static void end_options(const struct command *command, int argc, char **argv)
{
	const struct action_row *action = command_action_of(command, argc, argv);
	const struct common *common = command->common;

	if (common && common->quiet && !common->has_data && !(action && action->prints_data))
		descriptors_silence(STDOUT_FILENO);
}

int options_next(const struct command *command, int argc, char **argv, const char **value,
		 int *exit_code)
{
	struct option longs[OPTIONS_MOST + OPTIONS_COMMON + 1];
	char shorts[2 * (OPTIONS_MOST + OPTIONS_COMMON) + 2];
	const struct option_row *row;
	size_t index;
	int found;

	make_tables(command, longs, shorts);
	opterr = 0;
	for (;;) {
		found = getopt_long(argc, argv, shorts, longs, NULL);
		*value = optarg;
		if (found == -1) {
			end_options(command, argc, argv);
			*exit_code = limits_begin(command);
			return *exit_code == EXIT_FINE ? OPTIONS_END : OPTIONS_STOP;
		}
		row = row_of(command, found, &index);
		if (row && index < command->option_count) {
			note_output(command, row, *value);
			return (int)index;
		}
		if (row && row->letter == HELP_LETTER)
			*exit_code =
				print_action_help(command, command_action_of(command, argc, argv));
		else if (!row)
			*exit_code = wrong_option(command, found, argv[optind - 1], argv[optind]);
		else if (take_common(command, row, *value, exit_code))
			continue;
		return OPTIONS_STOP;
	}
}

/* Makes "human, json or ndjson" of "human json ndjson". */
static void write_choice(const char *words, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t length; *words && used < size; words += length) {
		const char *part = used == 0 ? "" : strchr(words + 1, ' ') ? ", " : " or ";

		words += strspn(words, " ");
		length = strcspn(words, " ");
		used += (size_t)snprintf(text + used, size - used, "%s%.*s", part, (int)length,
					 words);
	}
}

int options_word(const struct command *command, const struct option_row *row, const char *value)
{
	char suggested[SUGGEST_TEXT_MAX], choice[128];
	const char *words = row->values;
	int number = 0;

	for (size_t length; *words; words += length, number++) {
		words += strspn(words, " ");
		length = strcspn(words, " ");
		if (strlen(value) == length && strncmp(words, value, length) == 0)
			return number;
	}
	write_choice(row->values, choice, sizeof(choice));
	usage_error(command, "--%s is %s, not '%s'%s", row->name, choice, value,
		    suggest_of_words(value, row->values, suggested, sizeof(suggested)));
	return -1;
}

bool options_number(const struct command *command, const struct option_row *row, const char *value,
		    uint64_t most, uint64_t *number)
{
	struct qcow2_error err;

	if (qcow2_number_parse(value, most, number, &err) == 0)
		return true;
	usage_error(command, "--%s: %s", row->name, err.text);
	return false;
}

bool options_output(const struct command *command, const char *value, bool *json)
{
	int word = options_word(command, options_find(command, "output", 0), value);

	*json = word == 1;
	return word >= 0;
}
