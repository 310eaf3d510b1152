/* SPDX-License-Identifier: MIT */
/* The verbs of qcow2 edit. */
#ifndef CMD_EDIT_VERBS_H
#define CMD_EDIT_VERBS_H

#include "common/command.h"
#include "common/effects.h"

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
	const char *raw;       /* what an entry of a table that was set means; NULL: none was */
	struct effects *lines; /* what each of them means for the user */
};

/* The options of qcow2 edit, in the order of its table. */
enum {
	OPTION_DRY_RUN,
	OPTION_DUMP,
	OPTION_FORCE,
	OPTION_YES,
	OPTION_SCRIPT,
	OPTION_UNDO_FILE,
	OPTION_UNDO_DIR,
	OPTION_NO_UNDO,
	OPTION_DATA,
	OPTION_FILE,
	OPTION_OUTPUT,
	OPTION_JSON
};

/* Those of every verb, and those that only extensions have besides. */
#define EDIT_OPTIONS_DATA (UINT32_C(1) << OPTION_DATA | UINT32_C(1) << OPTION_FILE)
#define EDIT_OPTIONS_ALL  (~EDIT_OPTIONS_DATA & ~(UINT32_C(1) << OPTION_SCRIPT))

/* The verbs, for help and completion. */
#define EDIT_VERBS 6
extern const struct action_row edit_verbs[EDIT_VERBS];

/*
 * Adds a change to a plan. 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT also for a verb that
 * does not exist, and for too few or too many words; errors of edit.h and read_file.h.
 */
int edit_verb(struct qcow2_plan *plan, const struct edit_line *line, struct edit_effect *effect,
	      struct qcow2_error *err);

#endif
