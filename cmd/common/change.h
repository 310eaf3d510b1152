/* SPDX-License-Identifier: MIT */
/* What every command that changes an image does besides its own: judge the plan, show it, apply it.
 */
#ifndef CMD_COMMON_CHANGE_H
#define CMD_COMMON_CHANGE_H

#include "common/command.h"
#include "common/plan_report.h"
#include "common/undo_place.h"

/* One change of an image. The caller fills the first part, and zeros the rest. */
struct change {
	const struct command *command;
	struct plan_report report; /* file, dry_run and selector */
	struct undo_choice undo;
	bool as_json, force;
	char description[256]; /* for the undo file */
	/* Adds to report.plan. EXIT_FINE, or what went wrong has been said. */
	int (*plan)(struct change *change);
	bool (*confirm)(const struct change *change); /* NULL: nothing has to be confirmed */
	void *opaque;

	struct qcow2_source *source;
	struct qcow2_plan_verdict *verdict;
	struct problem_log problems;
	struct spool out;
	struct json json;
	struct undo_place place;
	char spill_path[UNDO_PATH_MAX];
};

/* Returns the exit code. */
int change_run(struct change *change);

/* Say what went wrong; return EXIT_COULD_NOT. */
int change_fail(const struct change *change, const struct qcow2_error *err);
int change_fail_text(const struct change *change, const char *text);

#endif
