/* SPDX-License-Identifier: MIT */
/* Old refcount blocks and tables, to which nothing leads any more. */
#ifndef Q2_REPAIR_OLD_BLOCKS_H
#define Q2_REPAIR_OLD_BLOCKS_H

struct q2_recount;

/*
 * Takes clusters out of r->presumed that read as refcount blocks which were lost, or as a part of
 * the table that led to them. Returns 0, or -1 with the error filled.
 */
int q2_old_blocks_leave_out(struct q2_recount *r);

#endif
