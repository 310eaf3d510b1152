/* SPDX-License-Identifier: MIT */
/* How the guards are asked about a plan. See def/guards.def. */
#ifndef Q2_PLAN_GUARDS_GUARD_H
#define Q2_PLAN_GUARDS_GUARD_H

#include <qcow2/edit.h>

#include "plan/guards/inventory.h"
#include "plan/verdict.h"

/* A plan, the image before it and after it, and what each has. */
struct q2_trial {
	struct qcow2_plan *plan;
	struct q2_verdict *verdict;
	struct qcow2_image *before, *after; /* NULL: it is none */
	/* If only its magic number or its version made it none: it as it was, but for those. */
	struct qcow2_plan *restored;
	struct qcow2_source *restored_view;
	struct q2_inventory had, has;
	struct qcow2_error *err;
};

/* Notes that a guard refuses. name, in quotes and made safe, follows text; it may be empty. */
void q2_guard_refuse(struct q2_trial *trial, enum qcow2_guard_id guard, const char *where,
		     const char *text, struct qcow2_bytes name);

/* Each asks some of the guards; 0, or -1 with trial->err filled. */
int q2_guards_image(struct q2_trial *trial);
int q2_guards_bitmaps(struct q2_trial *trial);
int q2_guards_lost(struct q2_trial *trial);
int q2_guards_shared_tables(struct q2_trial *trial);

/* Asks about a cluster that the planned image uses for two things. */
void q2_guards_shared_cluster(struct q2_trial *trial, const struct qcow2_problem *problem);

/* Whether a plan writes to a place. */
bool q2_plan_touches(const struct qcow2_plan *plan, uint64_t offset_bytes, uint64_t size_bytes);

/*
 * Whether every guest cluster is data at the same place of the data file, so that this file alone
 * reads like the image. Errors: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_is_raw_alone(const struct qcow2_image *image, bool *is_raw, struct qcow2_error *err);

/* Whether an image maps anything; what cannot be read may. Errors: QCOW2_ERROR_MEMORY. */
int q2_maps_nothing(const struct qcow2_image *image, bool *nothing, struct qcow2_error *err);

#endif
