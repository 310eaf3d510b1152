/* SPDX-License-Identifier: MIT */
/* Messages and output of commands. */
#ifndef CMD_COMMON_REPORT_H
#define CMD_COMMON_REPORT_H

#include "common/command.h"

#include <qcow2/error.h>

struct spool;

/*
 * Says on standard error what is wrong with the command line, and points at --help. command is NULL
 * if no subcommand was asked for. Returns EXIT_COULD_NOT.
 */
int usage_error(const struct command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Says one line on standard error: command, file, text, offset. Returns EXIT_COULD_NOT. */
int report_error(const struct command *command, const char *file, const struct qcow2_error *err);

/* The same with a text alone, which is cut to what struct qcow2_error holds. */
int report_text(const struct command *command, const char *file, const char *text);

/*
 * Writes what is spooled. Returns code, or if that fails says so and returns EXIT_COULD_NOT.
 * command is NULL if no subcommand was asked for.
 */
int finish_output(const struct command *command, struct spool *spool, int code);

/*
 * Whether pages are coloured: as --color says, else if standard output is a terminal that shows
 * colours and the user has not set NO_COLOR.
 */
bool wants_colour(const struct command *command);

/* Whether the user asked for silence, or for all there is to say. */
bool wants_silence(const struct command *command);
bool wants_all(const struct command *command);

#endif
