/* SPDX-License-Identifier: MIT */
/* The rows of options of a command: its own, and those that all commands have. */
#ifndef CMD_COMMON_OPTION_ROWS_H
#define CMD_COMMON_OPTION_ROWS_H

#include "common/command.h"

/* Every command has -h and --help, besides its own options. */
#define HELP_LETTER 'h'

/* How many rows all commands have. */
#define OPTIONS_COMMON 6

/*
 * The rows that all commands have besides their own, "help" last. Sets *count, which is 1 if the
 * command is plain.
 */
const struct option_row *options_common(const struct command *command, size_t *count);

/* The row with an index: the command's own rows, then the common ones. NULL behind the last. */
const struct option_row *options_row(const struct command *command, size_t index);

/* Finds a row, the command's own or a common one, by its long name or its letter. NULL: none. */
const struct option_row *options_find(const struct command *command, const char *name, char letter);

/* Whether the word behind --NAME is its argument: not if it has none, or only behind '='. */
bool options_takes_word(const struct option_row *row);

/*
 * Makes ": did you mean --output?" for the long name of an option that does not exist, which may have
 * a value behind it, or an empty text. Returns buffer, of SUGGEST_TEXT_MAX bytes.
 */
const char *options_suggest(const struct command *command, const char *name, char *buffer);

/* The same for actions. */
const char *actions_suggest(const struct command *command, const char *name, char *buffer);

#endif
