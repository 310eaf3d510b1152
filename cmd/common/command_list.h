/* SPDX-License-Identifier: MIT */
/* All commands, for those that speak of others: help and completion. */
#ifndef CMD_COMMON_COMMAND_LIST_H
#define CMD_COMMON_COMMAND_LIST_H

#include "common/command.h"

struct command_list {
	const struct command *const *all;
	size_t count;
	size_t listed; /* so many of them, the first ones, are in the main help */
};

/* The options that stand in place of a command, as --version. It has no function. */
extern const struct command main_command;

/* Finds a command by its name, those included that are not listed. NULL if there is none. */
const struct command *commands_find(const struct command_list *list, const char *name);

/* Says that there is no such command, and which one may be meant. Returns EXIT_COULD_NOT. */
int commands_unknown(const struct command_list *list, const char *name);

#endif
