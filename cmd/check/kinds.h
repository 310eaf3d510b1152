/* SPDX-License-Identifier: MIT */
/* Problems on the page of qcow2 check, kind by kind. */
#ifndef CMD_CHECK_KINDS_H
#define CMD_CHECK_KINDS_H

#include "check/report.h"
#include "out/spool.h"

/* Says which kinds of problems follow from a cause, and how many there are of each. */
void check_show_cause(struct spool *out, const struct check_report *report,
		      const struct check_cause *cause);

/*
 * Shows all problems, the worst kinds first. Kinds that follow from a cause are left out unless all
 * or more is asked for.
 */
void check_show_kinds(struct spool *out, const struct check_report *report);

#endif
