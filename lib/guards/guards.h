/* SPDX-License-Identifier: MIT */
/*
 * The guards, grouped by what they watch; def/guards.def describes each of them. Each function asks
 * its guards about one trial and notes refusals with q2_guard_refuse(). The functions that read the
 * image return 0, or -1 with trial->err filled: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
#ifndef Q2_GUARDS_GUARDS_H
#define Q2_GUARDS_GUARDS_H

#include "guards/trial.h"

/* Feature bits, refcounts, and the fields that say how guest data are read. */
int q2_guards_image(struct q2_trial *trial);

/* Bitmaps that the planned image asks programs to believe. */
int q2_guards_bitmaps(struct q2_trial *trial);

/* Extensions, names, snapshots and bitmaps that are no longer found. */
int q2_guards_lost(struct q2_trial *trial);

/* L2 tables that several L1 entries lead to, and all tables of a dirty image. */
int q2_guards_shared_tables(struct q2_trial *trial);

/*
 * A cluster that the planned image uses for two things: `problem` is of the kind cluster-owners and
 * comes from the check of the planned image.
 */
void q2_guards_shared_cluster(struct q2_trial *trial, const struct qcow2_problem *problem);

#endif
