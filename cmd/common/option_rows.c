/* SPDX-License-Identifier: MIT */
/* See option_rows.h. */
#include "common/option_rows.h"

#include <stdio.h>
#include <string.h>

#include "out/suggest.h"

static const struct option_row common_rows[OPTIONS_COMMON] = {
	{"color", 0, "WHEN", "use colours: auto (default), always or never", "auto always never"},
	{"quiet", 'q', NULL, "print nothing but errors, and data as JSON", NULL},
	{"verbose", 'v', NULL, "say more: writes of a change, rules of problems", NULL},
	{"memory-limit", 0, "SIZE", "fail if it needs more memory (default 4G; 0: any)", NULL},
	{"time-limit", 0, "SECONDS", "fail if it takes longer (default 86400; 0: any)", NULL},
	{"help", HELP_LETTER, NULL, "print this help and exit", NULL},
};

const struct option_row *options_common(const struct command *command, size_t *count)
{
	*count = command->is_plain ? 1 : OPTIONS_COMMON;
	return common_rows + OPTIONS_COMMON - *count;
}

const struct option_row *options_row(const struct command *command, size_t index)
{
	size_t count;
	const struct option_row *common = options_common(command, &count);

	if (index < command->option_count)
		return &command->options[index];
	index -= command->option_count;
	return index < count ? &common[index] : NULL;
}

const struct option_row *options_find(const struct command *command, const char *name, char letter)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(command, i)) != NULL; i++)
		if (name ? strcmp(row->name, name) == 0 : row->letter && row->letter == letter)
			return row;
	return NULL;
}

bool options_takes_word(const struct option_row *row)
{
	return row->argument && row->argument[0] != '[';
}

const char *options_suggest(const struct command *command, const char *name, char *buffer)
{
	const struct option_row *row;
	struct suggestion suggestion;
	char before[SUGGEST_WORD_MOST + 2];

	snprintf(before, sizeof(before), "%.*s", (int)strcspn(name, "="), name);
	suggest_begin(&suggestion, before);
	for (size_t i = 0; (row = options_row(command, i)) != NULL; i++)
		suggest_offer(&suggestion, row->name);
	return suggest_text(&suggestion, "--", buffer, SUGGEST_TEXT_MAX);
}

const char *actions_suggest(const struct command *command, const char *name, char *buffer)
{
	struct suggestion suggestion;

	suggest_begin(&suggestion, name);
	for (size_t i = 0; i < command->action_count; i++)
		suggest_offer(&suggestion, command->actions[i].name);
	return suggest_text(&suggestion, "", buffer, SUGGEST_TEXT_MAX);
}
