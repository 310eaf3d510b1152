/* SPDX-License-Identifier: MIT */
/*
 * The stages of a check, in the order in which they run. Each returns 0, or -1 with check->err
 * filled; problems are no errors.
 */
#ifndef Q2_CHECK_STAGES_H
#define Q2_CHECK_STAGES_H

#include "check/run.h"

/* Structures and L1 tables: rules, digest, claims; finds L2 tables and refcount blocks. */
int q2_check_metadata(struct q2_check *check);
/* Counts what the entries of L2 tables refer to, and notes which tables have faulty entries. */
int q2_check_l2_tables(struct q2_check *check);
/* Tells the faults of those tables. */
int q2_check_report_l2(struct q2_check *check);
/* With raw external data: every guest cluster has to be mapped. */
int q2_check_raw(struct q2_check *check);
/* If asked for: every compressed cluster has to inflate. */
int q2_check_deep(struct q2_check *check);
/* Compares refcounts and copied flags with what was counted; can be run again from bad_from on. */
int q2_check_refcounts(struct q2_check *check);
/* Tells which clusters are wrong, and whose they are. */
int q2_check_tell_clusters(struct q2_check *check);
/* If asked for: whether leaks may be data whose mapping is lost. */
int q2_check_lost(struct q2_check *check);
/* If asked for: sums up what all problems do to the guest's data. Runs without clusters, too. */
int q2_check_damage(struct q2_check *check);
/* The last part of it: tells the ranges of each disk, and fills the totals. */
int q2_damage_spread(struct q2_check *check);

#endif
