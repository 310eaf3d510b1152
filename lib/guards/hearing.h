/* SPDX-License-Identifier: MIT */
/*
 * Hears the problems of the image before a plan and of the planned image, and notes in the verdict
 * which of them are new.
 */
#ifndef Q2_GUARDS_HEARING_H
#define Q2_GUARDS_HEARING_H

#include "check/structures.h"
#include "guards/known.h"
#include "guards/trial.h"

/* If a kind has more problems than this, only their number is compared. */
#define Q2_TOLD_MOST 100000

/* The problems of the image before, and what is heard of those after. */
struct q2_hearing {
	struct q2_verdict *verdict;
	struct q2_check_totals base; /* of the image whose problems are known */
	struct q2_known known;
	struct q2_trial *trial;
	const struct qcow2_judge_options *options;
	uint64_t shown[Q2_PROBLEM_NUMBERS];
	/* If one check tells of both images: the structures of each. */
	bool shares;
	struct q2_structures had, has;
};

/* Whether a check of one image has told of the clusters of both. */
static inline bool q2_hearing_is_shared(const struct q2_hearing *hearing)
{
	return hearing->shares && q2_structures_match(&hearing->had, &hearing->has);
}

/* Callbacks of checks of the two images; opaque is a struct q2_hearing. */
int q2_hear_before(void *opaque, const struct qcow2_problem *problem);
int q2_hear_after(void *opaque, const struct qcow2_problem *problem);

#endif
