/* SPDX-License-Identifier: MIT */
/* Messages of QEMU, and which problems they are. */
#ifndef CMD_EXPLAIN_MESSAGES_H
#define CMD_EXPLAIN_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>

#include <qcow2/problem.h>

struct explain_message {
	const char *words;    /* see messages.def */
	const char *problems; /* ids with blanks between them */
	const char *meaning;
	const char *advice; /* may be empty */
	bool less;          /* explained only if there is nothing else */
};

/* All messages. */
const struct explain_message *explain_messages(size_t *count);

/*
 * Which messages a line from a log or a terminal is, or holds: `hear` is called for each. Numbers,
 * case and punctuation do not matter; a few words from a message are enough. The most that is heard
 * of is `most`. Returns how many there are.
 */
size_t explain_match(const char *line, size_t most,
		     void (*hear)(void *opaque, const struct explain_message *message),
		     void *opaque);

/* Whether a message is about problems of this kind. */
bool explain_is_of(const struct explain_message *message, const struct qcow2_problem_kind *kind);

/* The message that has most words in common with a line, or NULL. */
const struct explain_message *explain_message_near(const char *line);

#endif
