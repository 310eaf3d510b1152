/* SPDX-License-Identifier: MIT */
/* Goes through the L1 tables of an image, for the tables that a plan writes to. */
#ifndef Q2_GUARDS_TOUCHED_H
#define Q2_GUARDS_TOUCHED_H

#include <qcow2/edit.h>

/* Who is told. Both may be NULL; not 0 ends it. */
struct q2_touched_tables {
	void *opaque;
	/* An L1 table of `entries` entries that the plan writes to. */
	int (*l1)(void *opaque, uint64_t offset_bytes, uint64_t entries);
	/* An L1 entry that leads to an L2 table which the plan writes to: often if many do. */
	int (*l2)(void *opaque, uint64_t offset_bytes);
};

/*
 * Reads the L1 tables of the active image and of all snapshots, each place once and no more entries
 * than the file can store. `image` has a geometry. Returns 0, what a function returned, or -1 with
 * *err filled: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_each_touched_table(const struct qcow2_image *image, const struct qcow2_plan *plan,
			  const struct q2_touched_tables *told, struct qcow2_error *err);

/* Words of a table: [first, end). */
struct q2_touched_words {
	uint64_t first, end;
};

/*
 * Steps to the next words that the plan writes to, of the `count` words of a table at offset_bytes,
 * behind words->end; begin with zeros. False if there are no more. Others are as before.
 */
bool q2_next_touched_words(const struct qcow2_plan *plan, uint64_t offset_bytes, uint64_t count,
			   struct q2_touched_words *words);

#endif
