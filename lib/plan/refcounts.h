/* SPDX-License-Identifier: MIT */
/*
 * The refcounts of a planned image, in memory ("Host cluster management"): the refcount table, and
 * the blocks that are looked at or changed. Blocks that have not changed are forgotten again, but
 * for the one that was read last, so that a search through a large image needs little memory.
 */
#ifndef Q2_PLAN_REFCOUNTS_H
#define Q2_PLAN_REFCOUNTS_H

#include "plan/plan.h"

#include <qcow2/limits.h>

/* QEMU's limit of the refcount table. */
#define Q2_REFCOUNT_TABLE_MOST_BYTES ((uint64_t)QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES)

/* A refcount block in memory. */
struct q2_refcount_block {
	uint8_t *bytes; /* NULL: not read */
	bool changed;
};

struct q2_refcounts {
	struct qcow2_plan *plan;
	unsigned cluster_bits, refcount_bits;
	uint64_t cluster_size, per_block;
	uint64_t table_offset, table_clusters;
	uint64_t old_offset, old_clusters; /* of the table that was replaced */
	uint64_t *table;                   /* offsets of blocks; 0: there is none */
	struct q2_refcount_block *blocks;
	uint64_t entries; /* of both */
	bool table_changed, moved;
	uint64_t last; /* the block that was read last */
};

/*
 * Reads the refcount table of the image as it is planned so far. Release it in any case. Errors:
 * QCOW2_ERROR_BROKEN (there is no table that could be used), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_refcounts_init(struct q2_refcounts *refcounts, struct qcow2_plan *plan,
		      const struct qcow2_image *image, struct qcow2_error *err);
void q2_refcounts_release(struct q2_refcounts *refcounts);

/* Whether a block counts the cluster; a cluster without one has the refcount 0. */
bool q2_refcounts_cover(const struct q2_refcounts *refcounts, uint64_t cluster);

/* Errors of both: QCOW2_ERROR_BROKEN (the block is at no cluster of the file), memory, reading. */
int q2_refcounts_get(struct q2_refcounts *refcounts, uint64_t cluster, uint64_t *refcount,
		     struct qcow2_error *err);
/* Does nothing to a cluster that no block counts. */
int q2_refcounts_set(struct q2_refcounts *refcounts, uint64_t cluster, uint64_t refcount,
		     struct qcow2_error *err);

/* Adds a block of zeros, at that host cluster. Errors: QCOW2_ERROR_MEMORY. */
int q2_refcounts_add_block(struct q2_refcounts *refcounts, uint64_t index, uint64_t cluster,
			   struct qcow2_error *err);

/* Moves the table to `clusters` clusters from `cluster` on. Errors: QCOW2_ERROR_MEMORY. */
int q2_refcounts_move_table(struct q2_refcounts *refcounts, uint64_t cluster, uint64_t clusters,
			    struct qcow2_error *err);

/*
 * Plans all blocks that have changed, in `phase`, and the table if it has changed. A table that
 * stays is written in QCOW2_PHASE_COUNT. A table that moves is written in QCOW2_PHASE_NEW, and the
 * header's pointer to it in QCOW2_PHASE_COUNT. Errors: those of qcow2_plan_write().
 */
int q2_refcounts_plan(struct q2_refcounts *refcounts, enum qcow2_phase phase,
		      struct qcow2_error *err);

#endif
