/* SPDX-License-Identifier: MIT */
/* Takes apart the line of a command as far as the cursor. */
#ifndef CMD_COMPLETION_LINE_H
#define CMD_COMPLETION_LINE_H

#include "common/command_list.h"

/* The operands that are kept. Lines may have more; what may stand there is the same. */
#define OPERANDS_KEPT 16

struct line {
	const struct command *command;
	const struct action_row *action; /* NULL: none so far */
	const struct option_row *option; /* the word at the cursor is its value; NULL: it is none */
	bool ended;                      /* there was "--" */
	const char *other;               /* the value of --from, or NULL */
	const char *operands[OPERANDS_KEPT];
	size_t operand_count; /* may be more than are kept */
};

/* Reads the words between the command and the cursor. */
void line_read(struct line *line, const struct command *command, char *const *words, size_t count);

/* The image that the line is about, or NULL. */
const char *line_image(const struct line *line);

/*
 * Removes quotes and backslashes as a shell would, in place, and expands nothing. Returns the quote
 * that is still open at the end, or 0. A word in which the shell would expand something becomes
 * empty, except for a leading ~/, which is left as it is.
 */
char line_unquote(char *word);

#endif
