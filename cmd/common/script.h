/* SPDX-License-Identifier: MIT */
/* Scripts have one change in a line. Words may be quoted as in a shell; '#' begins a comment. */
#ifndef CMD_COMMON_SCRIPT_H
#define CMD_COMMON_SCRIPT_H

#include <stddef.h>

#include <qcow2/error.h>

/* Runs a line that has at least one word. 0, or -1 with *err filled. */
typedef int (*script_line)(void *opaque, char **words, size_t count, struct qcow2_error *err);

/* Runs a script, from a file or standard input ("-"). Errors name the line. */
int script_run(const char *path, script_line line, void *opaque, struct qcow2_error *err);

#endif
