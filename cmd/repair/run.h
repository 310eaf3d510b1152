/* SPDX-License-Identifier: MIT */
/* One call of qcow2 repair: what is wanted, what was planned, and the pages about it. */
#ifndef CMD_REPAIR_RUN_H
#define CMD_REPAIR_RUN_H

#include "common/change.h"
#include "out/progress.h"
#include "repair/kept.h"

#include <qcow2/repair.h>

/* The most --only and --drop-snapshot of a line. */
#define REPAIR_NAMES_MOST 4096

struct repair_run {
	const struct command *command;
	struct change change;
	struct qcow2_repair_options how;
	const struct qcow2_problem_kind **only; /* of how, which is const */
	const char **drop;                      /* likewise */
	bool yes, hex, ranges, progress_wanted;
	struct progress progress;
	struct repair_kept kept;
	struct qcow2_repair_result *result; /* NULL until it is planned */
	bool asks;                          /* a person is asked before it is done */
	bool has_shown;                     /* the page is on the screen, all but its last lines */
};

/* Repairs an image. Returns the exit code. */
int repair_run(struct repair_run *run);

#endif
