/* SPDX-License-Identifier: MIT */
/* Where the active L1 table is, and how large ("Header"). */
#ifndef Q2_REPAIR_L1_PLACE_H
#define Q2_REPAIR_L1_PLACE_H

#include "repair/mapping/l2_faults.h"
#include "repair/mapping/l2_uses.h"

/* The problems of the place, as steps without what is done; their kinds are NULL if not heard. */
struct q2_l1_place {
	struct qcow2_repair_step unaligned, beyond_end, too_small, too_large;
};

/* Whether the problem is one of these, which is noted then. */
bool q2_l1_place_hear(struct q2_l1_place *place, const struct qcow2_problem *problem);

/*
 * Mends the place and size of the table. Sets repair->begin_again if something was planned. 0, or
 * -1 with repair->err filled.
 */
int q2_l1_place_mend(struct q2_repair *repair, struct q2_l1_place *place);

#endif
