/* SPDX-License-Identifier: MIT */
/* A verdict while it is made, and as the caller of qcow2_plan_judge() gets it. */
#ifndef Q2_GUARDS_VERDICT_H
#define Q2_GUARDS_VERDICT_H

#include <qcow2/edit.h>

#include "check/check.h"

struct q2_verdict {
	struct qcow2_plan_verdict public; /* first, and filled last: by q2_verdict_publish() */
	struct q2_check_totals before, after;
	bool opened_before; /* it was an image that could be checked */
	bool adds_problems; /* some that are not there before, or it is no image any more */
	struct qcow2_error not_opened; /* if it is none any more: why; else its code is NONE */
	/* New ones of each kind; of kinds that are only counted, all if there are more. */
	uint64_t added_by_kind[Q2_PROBLEM_NUMBERS];
	/* Guards that refuse the plan: the first QCOW2_REFUSALS_MOST are kept. */
	uint64_t refusals_total;
	size_t refusal_count;
	struct qcow2_refusal refusals[QCOW2_REFUSALS_MOST];
	const struct qcow2_refusal *pointers[QCOW2_REFUSALS_MOST];
};

/* Fills what the caller sees from what has been found. */
void q2_verdict_publish(struct q2_verdict *verdict);

#endif
