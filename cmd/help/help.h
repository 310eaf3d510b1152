/* SPDX-License-Identifier: MIT */
/* The help of the program itself. */
#ifndef CMD_HELP_HELP_H
#define CMD_HELP_HELP_H

#include "common/command_list.h"

/* Prints it on standard output. Returns the exit code. */
int print_main_help(const struct command_list *list);

#endif
