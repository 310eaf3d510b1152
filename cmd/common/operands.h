/* SPDX-License-Identifier: MIT */
/* What stands on a command line behind its options. */
#ifndef CMD_COMMON_OPERANDS_H
#define CMD_COMMON_OPERANDS_H

#include "common/command.h"

/*
 * Takes the only operand of a command that looks at one image. Call it when options_next() has
 * returned OPTIONS_END. EXIT_FINE with *file set, or EXIT_COULD_NOT when the error has been said.
 */
int operands_one_image(const struct command *command, int argc, char **argv, const char **file);

/* A line of a command whose actions come first: ACTION IMAGE NAME... */
struct action_line {
	const struct action_row *action;
	const char *file;
	char **names;
	size_t name_count;
};

/*
 * Takes such a line, and checks that the action has all options in `given`, which are bits by their
 * rows. EXIT_FINE, or EXIT_COULD_NOT when the error has been said.
 */
int operands_action(const struct command *command, int argc, char **argv, uint32_t given,
		    struct action_line *line);

#endif
