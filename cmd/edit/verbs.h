/* SPDX-License-Identifier: MIT */
/* The verbs of qcow2 edit. */
#ifndef CMD_EDIT_VERBS_H
#define CMD_EDIT_VERBS_H

#include <qcow2/edit.h>

/* One change: a verb and its words, and where the data of an extension come from. */
struct edit_line {
	size_t count;
	char **words;
	const char *data; /* --data */
	const char *file; /* --file */
};

/* What the words have done besides adding to the plan. */
struct edit_effect {
	const char *raw; /* what an entry of a table that was set means; NULL: none was */
};

/*
 * Adds a change to a plan. 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT also for a verb that
 * does not exist, and for too few or too many words; errors of edit.h and read_file.h.
 */
int edit_verb(struct qcow2_plan *plan, const struct edit_line *line, struct edit_effect *effect,
	      struct qcow2_error *err);

#endif
