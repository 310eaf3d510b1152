/* SPDX-License-Identifier: MIT */
/*
 * Finds the writes of a plan by place, so that reading a plan of many writes does not go through
 * all of them. Places are divided into pieces; a bucket has the writes of every piece that falls to
 * it.
 */
#ifndef QCOW2_EDIT_PLAN_INDEX_H
#define QCOW2_EDIT_PLAN_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qcow2_planned_write;

#define QCOW2_PLAN_BUCKETS     4096
#define QCOW2_PLAN_PIECE_BYTES (UINT64_C(1) << 16)

struct qcow2_plan_bucket {
	struct qcow2_planned_write **writes; /* in the order in which they are made */
	size_t count, capacity;
};

/* Adds a write; false if memory is short: then it may be in some of its buckets. */
bool qcow2_plan_index_add(struct qcow2_plan_bucket *buckets, struct qcow2_planned_write *write);

/* Takes a write out of all buckets. */
void qcow2_plan_index_remove(struct qcow2_plan_bucket *buckets,
			     const struct qcow2_planned_write *write);

void qcow2_plan_index_release(struct qcow2_plan_bucket *buckets);

/*
 * Lays all writes before last (NULL: all there are) over what was read from [offset, offset +
 * size).
 */
void qcow2_plan_index_lay_over(const struct qcow2_plan_bucket *buckets,
			       const struct qcow2_planned_write *last, uint64_t offset,
			       uint8_t *bytes, size_t size);

/* Where the first write in [offset, end) begins, or offset if one covers it; end if there is none.
 */
uint64_t qcow2_plan_index_next(const struct qcow2_plan_bucket *buckets, uint64_t offset,
			       uint64_t end);

#endif
