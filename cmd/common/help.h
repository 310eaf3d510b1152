/* SPDX-License-Identifier: MIT */
/* --help, from the description of a command. */
#ifndef CMD_COMMON_HELP_H
#define CMD_COMMON_HELP_H

#include "common/command.h"

/* Every command has -h and --help, besides its own options. */
#define HELP_LETTER 'h'

/* Prints the help of a command on standard output. Returns the exit code. */
int print_help(const struct command *command);

#endif
