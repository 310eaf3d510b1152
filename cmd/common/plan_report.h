/* SPDX-License-Identifier: MIT */
/* A plan and what has become of it: what the pages about a plan show. */
#ifndef CMD_COMMON_PLAN_REPORT_H
#define CMD_COMMON_PLAN_REPORT_H

#include "common/effects.h"
#include "out/json.h"
#include "out/problem_log.h"
#include "out/spool.h"

#include <qcow2/edit.h>

/* What a command adds to the pages, in front of the writes. All NULL: nothing. */
struct plan_more {
	void (*human)(struct spool *out, const void *what);
	void (*json)(struct json *json, const void *what); /* members of the page's object */
	const void *what;
};

struct plan_report {
	const char *file;
	struct qcow2_plan *plan;
	const struct qcow2_plan_verdict *verdict; /* NULL: it was not asked for */
	const struct problem_log *problems;       /* those that the plan adds */
	const char *undo_file;                    /* NULL: none */
	bool applied, dry_run;
	const char *selector; /* what of the planned image is shown; NULL: nothing */
	uint64_t old_size_bytes;
	struct plan_more more;
	const struct effects *effects; /* what it means for the user */
	bool all;                      /* every write is shown, not its effects alone */
};

#endif
