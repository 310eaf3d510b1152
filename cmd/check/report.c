/* SPDX-License-Identifier: MIT */
/* See report.h. */
#include "check/report.h"

uint64_t check_report_kept(const struct check_report *report, const struct qcow2_problem_kind *kind)
{
	uint64_t kept = 0;

	for (size_t i = 0; i < report->count; i++)
		kept += report->problems[i]->kind == kind;
	return kept;
}
