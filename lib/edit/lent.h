/* SPDX-License-Identifier: MIT */
/*
 * Clusters that an allocator may take although they are counted, since nothing refers to them any
 * more once the plan is applied.
 */
#ifndef QCOW2_EDIT_LENT_H
#define QCOW2_EDIT_LENT_H

#include <qcow2/base.h>

/* All zeros: none. */
struct qcow2_lent {
	uint64_t *clusters; /* rising */
	bool *taken;
	size_t count;
};

/* Copies clusters, which rise. False if memory is short; release it in any case. */
bool qcow2_lent_init(struct qcow2_lent *lent, const uint64_t *clusters, size_t count);
void qcow2_lent_release(struct qcow2_lent *lent);

/* Whether a cluster may be taken. */
bool qcow2_lent_has(const struct qcow2_lent *lent, uint64_t cluster);
/* It may not be taken any more. */
void qcow2_lent_take(struct qcow2_lent *lent, uint64_t cluster);

#endif
