/* SPDX-License-Identifier: MIT */
/* See verdict.h. */
#include "guards/verdict.h"

#include "base/alloc.h"

void q2_verdict_publish(struct q2_verdict *verdict)
{
	bool opened_after = verdict->not_opened.code == QCOW2_ERROR_NONE;

	for (size_t i = 0; i < verdict->refusal_count; i++)
		verdict->pointers[i] = &verdict->refusals[i];
	verdict->public = (struct qcow2_plan_verdict){
		.size = sizeof(verdict->public),
		.before = verdict->opened_before ? &verdict->before.sum : NULL,
		.after = opened_after ? &verdict->after.sum : NULL,
		.not_opened = opened_after ? NULL : &verdict->not_opened,
		.adds_problems = verdict->adds_problems,
		.refusals_total = verdict->refusals_total,
		.refusal_count = verdict->refusal_count,
		.refusals = verdict->pointers,
	};
}

uint64_t qcow2_plan_verdict_added(const struct qcow2_plan_verdict *verdict, unsigned number)
{
	/* The library alone makes verdicts, and each is the first member of one of these. */
	const struct q2_verdict *inside = (const void *)verdict;

	return number < Q2_PROBLEM_NUMBERS ? inside->added_by_kind[number] : 0;
}

void qcow2_plan_verdict_free(struct qcow2_plan_verdict *verdict)
{
	q2_free(verdict);
}
