/* SPDX-License-Identifier: MIT */
/* --help, from the description of a command. */
#ifndef CMD_COMMON_HELP_H
#define CMD_COMMON_HELP_H

#include "common/command.h"

struct spool;

/* Prints the help of a command on standard output. Returns the exit code. */
int print_help(const struct command *command);

/* Prints the help of one of its actions, or of the command if that is NULL. */
int print_action_help(const struct command *command, const struct action_row *action);

/* Write what may stand behind "qcow2 ": "bitmap extents [OPTIONS] IMAGE NAME...". */
void help_usage(struct spool *out, const struct command *command, const struct action_row *action);

/* Writes the options of a command whose bits are set, and those that all commands have. */
void help_options(struct spool *out, const struct command *command, uint32_t bits, unsigned width);

/* Writes a word and what it means, in two columns that fit `width`. */
void help_row(struct spool *out, const char *left, const char *right, unsigned width);

#endif
