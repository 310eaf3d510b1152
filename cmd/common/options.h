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

/*
 * Finds the value of an option among those that its row lists. Returns its number there, or -1 with a
 * message if it is none of them.
 */
int options_word(const struct command *command, const struct option_row *row, const char *value);

/* Reads a number of at most `most`, with 0x or a unit. False, with a message, if it is none. */
bool options_number(const struct command *command, const struct option_row *row, const char *value,
		    uint64_t most, uint64_t *number);

/* Sets *json from the value of --output, "human" or "json". False, with a message, for others. */
bool options_output(const struct command *command, const char *value, bool *json);

#endif
