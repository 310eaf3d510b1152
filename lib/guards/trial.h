/* SPDX-License-Identifier: MIT */
/* One plan under judgement: what the guards compare, and where they note what they refuse. */
#ifndef Q2_GUARDS_TRIAL_H
#define Q2_GUARDS_TRIAL_H

#include <qcow2/edit.h>

#include "guards/inventory.h"
#include "guards/verdict.h"

/* A plan, the image before it and the image after it, and what each of them has. */
struct q2_trial {
	struct qcow2_plan *plan;
	struct q2_verdict *verdict;
	struct qcow2_image *before, *after; /* NULL: that source is no image */
	/*
	 * If `before` is no image only because of its magic number or version, `restored` is a plan
	 * that sets these two right, and `before` is the image that this plan leaves.
	 */
	struct qcow2_plan *restored;
	struct qcow2_source *restored_view;
	struct q2_inventory had, has; /* of `before` and of `after` */
	bool repairs;                 /* QCOW2_INTENT_REPAIR: damage may have hidden problems */
	struct qcow2_error *err;
};

/*
 * Notes in the verdict that `guard` refuses the plan. `where` is a path, `text` one safe line; a
 * `name` whose data is not NULL is escaped, quoted and put behind `text`. Beyond
 * QCOW2_REFUSALS_MOST, refusals are only counted.
 */
void q2_guard_refuse(struct q2_trial *trial, enum qcow2_guard_id guard, const char *where,
		     const char *text, struct qcow2_bytes name);

#endif
