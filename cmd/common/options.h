/* SPDX-License-Identifier: MIT */
/* Parses command lines with the option rows of a command. */
#ifndef CMD_COMMON_OPTIONS_H
#define CMD_COMMON_OPTIONS_H

#include "common/command.h"

/* What options_next() returns besides the index of an option's row. */
enum { OPTIONS_END = -1, OPTIONS_STOP = -2 };

/*
 * The next option of a command line: its row's index with *value set to its argument; OPTIONS_END
 * when only operands follow (optind is the first); OPTIONS_STOP with *exit_code set when the
 * command is done, because help was asked for or the line is wrong.
 */
int options_next(const struct command *command, int argc, char **argv, const char **value,
		 int *exit_code);

/* Sets *json from "human" or "json". False, with a message, for any other value. */
bool options_output(const struct command *command, const char *value, bool *json);

#endif
