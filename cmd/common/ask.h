/* SPDX-License-Identifier: MIT */
/* Asks a person. */
#ifndef CMD_COMMON_ASK_H
#define CMD_COMMON_ASK_H

#include <stdbool.h>

/*
 * Prints a question and " [y/N] " on standard error and reads a line. Call it only if standard
 * input is a terminal.
 */
bool ask_person(const char *question);

#endif
