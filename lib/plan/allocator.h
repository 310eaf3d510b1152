/* SPDX-License-Identifier: MIT */
/*
 * Host clusters for what a plan adds: finds those whose refcount is 0, counts them, and makes room
 * for more refcounts where there is none ("Host cluster management"). All widths.
 */
#ifndef Q2_PLAN_ALLOCATOR_H
#define Q2_PLAN_ALLOCATOR_H

#include "plan/plan.h"

struct q2_allocator;

/*
 * Reads the refcount table of the image as it is planned so far. only_behind: take nothing before
 * the end of the file, for images whose refcounts are not to be trusted. Errors:
 * QCOW2_ERROR_BROKEN (there is no refcount table that could be used), QCOW2_ERROR_MEMORY,
 * QCOW2_ERROR_IO.
 */
int q2_allocator_open(struct qcow2_plan *plan, const struct qcow2_image *image, bool only_behind,
		      struct q2_allocator **out, struct qcow2_error *err);
void q2_allocator_close(struct q2_allocator *allocator);

/*
 * Takes count clusters side by side, each with a refcount of 1 from now on; *offset_bytes is where
 * they are. Errors: QCOW2_ERROR_LIMIT (the refcount table would be too large, or the device is
 * full), QCOW2_ERROR_BROKEN, QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_allocator_take(struct q2_allocator *allocator, uint64_t count, uint64_t *offset_bytes,
		      struct qcow2_error *err);

/*
 * Whether an error of q2_allocator_take() was that the image is on a device, which cannot grow,
 * and that no clusters side by side are free there.
 */
bool q2_allocator_is_full(const struct q2_allocator *allocator);

/*
 * Lets clusters be taken that are counted, as nothing refers to them any more once the plan is
 * applied; clusters is copied, and rises. Those that nobody takes keep their refcounts. To be
 * called once, before any is taken. Errors: QCOW2_ERROR_MEMORY.
 */
int q2_allocator_lend(struct q2_allocator *allocator, const uint64_t *clusters, size_t count,
		      struct qcow2_error *err);

/* How many clusters before the end of a device could be taken. */
int q2_allocator_count_free(struct q2_allocator *allocator, uint64_t *count,
			    struct qcow2_error *err);

/* Sets the refcount of a cluster that is counted already; others are left alone. */
int q2_allocator_set(struct q2_allocator *allocator, uint64_t cluster, uint64_t refcount,
		     struct qcow2_error *err);

/*
 * Plans what has changed since the last call: refcount blocks in that phase, and what leads to new
 * ones in QCOW2_PHASE_COUNT.
 */
int q2_allocator_plan(struct q2_allocator *allocator, enum qcow2_phase phase,
		      struct qcow2_error *err);

/* The refcount table that was replaced by a larger one: false if none was. */
bool q2_allocator_moved_table(const struct q2_allocator *allocator, uint64_t *offset_bytes,
			      uint64_t *clusters);

#endif
