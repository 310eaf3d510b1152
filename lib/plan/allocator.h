/* SPDX-License-Identifier: MIT */
/*
 * Takes host clusters for what a plan adds ("Host cluster management"). It finds clusters whose
 * refcount is 0, counts them in memory, and adds refcount blocks or a larger refcount table where
 * they are missing. q2_allocator_plan() turns that into writes.
 *
 * The invariant: every cluster that was taken, those of new blocks and tables included, has the
 * refcount 1 in the same plan, in the phase new, before anything points to it. So a crash can leak
 * clusters, but never free one that is in use.
 */
#ifndef Q2_PLAN_ALLOCATOR_H
#define Q2_PLAN_ALLOCATOR_H

#include "plan/plan.h"

struct q2_allocator;

/*
 * Opens an allocator over the image as planned so far. only_behind: take no cluster before the end
 * of the file, for images whose refcounts cannot be trusted. Errors: QCOW2_ERROR_BROKEN (no
 * refcount table that could be used), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_allocator_open(struct qcow2_plan *plan, const struct qcow2_image *image, bool only_behind,
		      struct q2_allocator **out, struct qcow2_error *err);
void q2_allocator_close(struct q2_allocator *allocator);

/*
 * Takes `count` clusters side by side, each with the refcount 1 from now on; *offset_bytes is the
 * host offset of the first. Errors: QCOW2_ERROR_LIMIT (the refcount table would be too large, or
 * the device is full), QCOW2_ERROR_BROKEN, QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_allocator_take(struct q2_allocator *allocator, uint64_t count, uint64_t *offset_bytes,
		      struct qcow2_error *err);

/*
 * Whether q2_allocator_take() failed because a device, which cannot grow, has no such run of free
 * clusters.
 */
bool q2_allocator_is_full(const struct q2_allocator *allocator);

/*
 * Lets counted clusters be taken to which nothing refers once the plan is applied. `clusters` is in
 * rising order and copied. Clusters that nobody takes keep their refcounts. Call it at most once,
 * before any cluster is taken. Errors: QCOW2_ERROR_MEMORY.
 */
int q2_allocator_lend(struct q2_allocator *allocator, const uint64_t *clusters, size_t count,
		      struct qcow2_error *err);

/* Counts the clusters before the end of a device that could be taken. */
int q2_allocator_count_free(struct q2_allocator *allocator, uint64_t *count,
			    struct qcow2_error *err);

/* Sets the refcount of a cluster that a block counts; does nothing to others. */
int q2_allocator_set(struct q2_allocator *allocator, uint64_t cluster, uint64_t refcount,
		     struct qcow2_error *err);

/*
 * Plans what has changed since the last call: refcount blocks in `phase`, and pointers to new
 * blocks and to a new table in QCOW2_PHASE_COUNT.
 */
int q2_allocator_plan(struct q2_allocator *allocator, enum qcow2_phase phase,
		      struct qcow2_error *err);

/* Returns whether a larger refcount table replaced the old one, and where that was. */
bool q2_allocator_moved_table(const struct q2_allocator *allocator, uint64_t *offset_bytes,
			      uint64_t *clusters);

#endif
