/* SPDX-License-Identifier: MIT */
/* See command.h. */
#include "common/command.h"

#include <string.h>

const struct action_row *command_action(const struct command *command, const char *name)
{
	for (size_t i = 0; i < command->action_count; i++)
		if (strcmp(command->actions[i].name, name) == 0)
			return &command->actions[i];
	return NULL;
}

/* Finds the action that an option stands for: --list or -l. */
static const struct action_row *action_of_option(const struct command *command, const char *word)
{
	if (word[0] != '-')
		return NULL;
	if (word[1] == '-')
		return command_action(command, word + 2);
	for (size_t i = 0; i < command->option_count; i++)
		if (command->options[i].letter && command->options[i].letter == word[1])
			return command_action(command, command->options[i].name);
	return NULL;
}

const struct action_row *command_action_of(const struct command *command, int argc, char **argv)
{
	const struct action_row *found = NULL;

	for (int i = 1; i < argc && !found; i++)
		found = command->action_place == ACTION_IS_OPTION
				? action_of_option(command, argv[i])
				: command_action(command, argv[i]);
	return found;
}
