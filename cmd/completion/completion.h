/* SPDX-License-Identifier: MIT */
/* The completion script for bash. */
#ifndef CMD_COMPLETION_COMPLETION_H
#define CMD_COMPLETION_COMPLETION_H

#include "common/command.h"

/* Prints it on standard output, for `count` commands. Returns the exit code. */
int print_completion(const struct command *const *all, size_t count);

#endif
