/* SPDX-License-Identifier: MIT */
/* The page about a plan: what was changed, or with a dry run every byte of it. */
#ifndef CMD_COMMON_PLAN_SHOW_H
#define CMD_COMMON_PLAN_SHOW_H

#include "common/plan_report.h"

/* Both: 0, or -1 with *err filled. */
int plan_show_human(struct spool *out, const struct plan_report *report, bool colour,
		    struct qcow2_error *err);
int plan_show_json(struct json *json, const struct plan_report *report, struct qcow2_error *err);

/* The writes of a plan: a line each, in a dry run with the bytes. 0, or -1 with *err filled. */
int plan_show_writes(struct spool *out, const struct plan_report *report, bool colour,
		     struct qcow2_error *err);
/* The same as JSON: the member "writes", with the bytes. */
int plan_write_writes(struct json *json, struct qcow2_plan *plan, struct qcow2_error *err);

/* The command that undoes the change, if there is an undo file. */
void plan_show_undo(struct spool *out, const struct plan_report *report);

/* The guards that refuse a plan, a line each that begins with `before`. */
void plan_show_refusals(struct spool *out, const struct qcow2_plan_verdict *verdict,
			const char *before);

#endif
