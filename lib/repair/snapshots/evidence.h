/* SPDX-License-Identifier: MIT */
/* What the image itself proves about the L1 table of a snapshot. */
#ifndef Q2_REPAIR_SNAPSHOTS_EVIDENCE_H
#define Q2_REPAIR_SNAPSHOTS_EVIDENCE_H

#include "repair/snapshots/snapshots.h"

/*
 * Finds the L1 table of an entry whose l1_table_offset lies inside a cluster. *found: its host
 * offset, or 0 if nothing proves one: the cluster that the offset lies in is used by nothing else,
 * and every entry there leads to a cluster of the file that can hold an L2 table.
 */
int q2_snapshot_find_l1(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
			uint64_t entries, uint64_t *found);

/*
 * How many entries of an L1 table there are behind its end, in the same cluster: those that lead to
 * L2 tables to which nothing else leads. *most is the number of all, at least `entries` and at most
 * `needed`.
 */
int q2_snapshot_count_hidden(struct q2_repair *repair, uint64_t offset, uint64_t entries,
			     uint64_t needed, uint64_t *most);

/*
 * Whether something else uses clusters of an L1 table behind its first `needed` entries, or whether
 * they pass the end of the file.
 */
int q2_snapshot_is_overlong(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
			    uint64_t needed, bool *is);

#endif
