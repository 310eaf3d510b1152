/* SPDX-License-Identifier: MIT */
/* Structures of an image as a plan would leave it, shown as qcow2 dump shows them. */
#ifndef CMD_COMMON_PLAN_PREVIEW_H
#define CMD_COMMON_PLAN_PREVIEW_H

#include "common/plan_report.h"

/*
 * Shows what a selector names: as text on `out`, or if json is not NULL as the value of a member.
 * 0, or -1 with *err filled.
 */
int plan_preview(struct spool *out, struct json *json, const struct plan_report *report,
		 const char *selector, bool colour, struct qcow2_error *err);

#endif
