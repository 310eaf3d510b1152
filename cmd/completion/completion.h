/* SPDX-License-Identifier: MIT */
/* Completion scripts for shells. */
#ifndef CMD_COMPLETION_COMPLETION_H
#define CMD_COMPLETION_COMPLETION_H

/*
 * Prints the script for "bash", "zsh" or "fish" on standard output. program: what the script asks
 * for candidates, a name or a path. Returns the exit code.
 */
int print_completion(const char *shell, const char *program);

#endif
