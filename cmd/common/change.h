/* SPDX-License-Identifier: MIT */
/* What all commands that change an image do with their plan: judge it, show it, apply it. */
#ifndef CMD_COMMON_CHANGE_H
#define CMD_COMMON_CHANGE_H

#include <sys/stat.h>

#include "common/command.h"
#include "common/effects.h"
#include "common/plan_report.h"
#include "common/undo_place.h"

/* One change of an image. The caller fills the first part and zeros the rest. */
struct change {
	const struct command *command;
	struct plan_report report; /* file, dry_run and selector */
	struct undo_choice undo;
	bool as_json, force;
	char description[256]; /* for the undo file */
	/*
	 * Adds writes to report.plan. Returns EXIT_FINE, or another code when the error has been
	 * said.
	 */
	int (*plan)(struct change *change);
	bool (*confirm)(struct change *change); /* NULL: nothing has to be confirmed */
	/* Makes the page, in out or json, as plan() returns a code. NULL: that about the plan. */
	int (*show)(struct change *change);
	/*
	 * plan() begins with an empty plan, and does itself what any edit owes the image; nor does
	 * it work on images with unknown incompatible features.
	 */
	bool begins_itself;
	bool is_rescue; /* the file is no image that could get worse: problems do not refuse it */
	int done;       /* the exit code if nothing fails; plan() may set it */
	void *opaque;

	struct qcow2_source *source;
	struct stat opened; /* the file, if is_known */
	bool is_known;
	bool short_of_memory; /* the planned image could not be checked for that */
	struct qcow2_plan_verdict *verdict;
	struct problem_log problems;
	struct effects effects; /* plan() adds them */
	struct spool out;
	struct json json;
	struct undo_place place;
	char spill_path[UNDO_PATH_MAX];
};

/*
 * Rows of options that all commands with a change have, in a table of option rows, and what takes
 * them: by the name of the row. False if the option is none of them.
 */
#define CHANGE_DRY_RUN_ROWS                                                                        \
	{"dry-run", 'n', NULL, "show every byte that would change; change nothing", NULL},         \
	{                                                                                          \
		"dump", 0, "SELECTOR", "with --dry-run: show this of the planned image, too", NULL \
	}
#define CHANGE_UNDO_ROWS                                                                           \
	{"undo-file", 0, "PATH", "where to keep what undoes it", NULL},                            \
		{"undo-dir", 0, "DIR", "in which folder to keep it, under a name of its own",      \
		 NULL},                                                                            \
	{                                                                                          \
		"no-undo", 0, NULL, "keep nothing to undo it with", NULL                           \
	}
bool change_take_option(struct change *change, const struct option_row *row, const char *value);

/* Runs the change. Returns the exit code. */
int change_run(struct change *change);

/* Say what went wrong. Return EXIT_COULD_NOT. */
int change_fail(const struct change *change, const struct qcow2_error *err);
int change_fail_text(const struct change *change, const char *text);

#endif
