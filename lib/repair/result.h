/* SPDX-License-Identifier: MIT */
/* What a repair comes to: storage of struct qcow2_repair_result. */
#ifndef Q2_REPAIR_RESULT_H
#define Q2_REPAIR_RESULT_H

#include "repair/repair.h"

struct q2_repair_result {
	struct qcow2_repair_result public; /* the first member */
	struct q2_check_totals before, after;
	struct qcow2_repair_left *left;
	const struct qcow2_repair_left **pointers;
};

/* Nothing is planned: the check of the planned image is that before. -1: memory is short. */
int q2_result_copy_before(struct q2_repair *repair);

/* Fills the list of what is left, from the check of the planned image. -1: memory is short. */
int q2_result_fill_left(struct q2_repair *repair);

#endif
