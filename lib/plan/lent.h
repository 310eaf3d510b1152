/* SPDX-License-Identifier: MIT */
/*
 * Counted clusters that an allocator may take, because nothing refers to them once the plan is
 * applied.
 */
#ifndef Q2_PLAN_LENT_H
#define Q2_PLAN_LENT_H

#include <qcow2/base.h>

/* All zeros: none. */
struct q2_lent {
	uint64_t *clusters; /* in rising order */
	bool *taken;
	size_t count;
};

/* Copies clusters, which are in rising order. False if memory is short; release it in any case. */
bool q2_lent_init(struct q2_lent *lent, const uint64_t *clusters, size_t count);
void q2_lent_release(struct q2_lent *lent);

/* Whether a cluster may be taken. */
bool q2_lent_has(const struct q2_lent *lent, uint64_t cluster);
/* Notes that a cluster is taken. */
void q2_lent_take(struct q2_lent *lent, uint64_t cluster);

#endif
