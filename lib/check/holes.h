/* SPDX-License-Identifier: MIT */
/*
 * Finds L2 tables of which a part reads as zeros, while the clusters that this part would have led
 * to leak: where a disk loses a sector or a page of a table, the rest of the mapping is intact.
 */
#ifndef Q2_CHECK_HOLES_H
#define Q2_CHECK_HOLES_H

#include "check/orphans.h"

/*
 * Reports each run of zero entries that covers a sector of its table at least, and that leaked
 * clusters with content fit: they follow, in the file, the cluster of the entry before the run, or
 * precede the cluster of the entry behind it. Each L2 table is read once, up to a bound; *all says
 * whether all were. 0, or -1 with check->err filled.
 */
int q2_holes_find(struct q2_check *check, const struct q2_orphans *orphans, bool *all);

#endif
