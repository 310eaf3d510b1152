/* SPDX-License-Identifier: MIT */
/* See report.h. */
#include "check/report.h"

#include <stdlib.h>

bool check_report_keep(struct check_report *report, const struct qcow2_problem *problem)
{
	struct qcow2_problem *copy;

	if (report->count == report->capacity) {
		size_t capacity = report->capacity ? report->capacity * 2 : 16;
		struct qcow2_problem **grown = realloc(report->problems, capacity * sizeof(*grown));

		if (!grown) {
			report->short_of_memory = true;
			return false;
		}
		report->problems = grown;
		report->capacity = capacity;
	}
	copy = qcow2_problem_copy(problem);
	if (!copy) {
		report->short_of_memory = true;
		return false;
	}
	report->problems[report->count++] = copy;
	return true;
}

uint64_t check_report_kept(const struct check_report *report, const struct qcow2_problem_kind *kind)
{
	uint64_t kept = 0;

	for (size_t i = 0; i < report->count; i++)
		kept += report->problems[i]->kind == kind;
	return kept;
}

uint64_t check_report_bounded(const struct check_report *report, uint64_t entries)
{
	return report->list_most > 0 && entries > report->list_most ? report->list_most : entries;
}

uint64_t check_report_found(const struct check_report *report, unsigned number)
{
	return qcow2_check_result_count(report->result, number);
}

bool check_report_lost(const struct check_report *report)
{
	return report->result->leaks_may_be_data;
}

bool check_report_unread(const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;

	return result->leaks > 0 && result->clusters_checked && !result->leaks_all_read &&
	       !result->leaks_may_be_data;
}

void check_report_release(struct check_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		qcow2_problem_free(report->problems[i]);
	free(report->problems);
	qcow2_check_result_free(report->result);
	*report = (struct check_report){0};
}
