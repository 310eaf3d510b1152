/* SPDX-License-Identifier: MIT */
/*
 * Tells the steps of repairs of entries. Neighbouring entries with the same fault and the same
 * effect become one step.
 */
#ifndef Q2_REPAIR_L2_TELL_H
#define Q2_REPAIR_L2_TELL_H

#include "repair/repair.h"

#include "format/problems.h"
#include "image/guest.h"

/* An L1 table, and the disk that it maps. */
struct q2_teller_disk {
	uint64_t size_bytes;
	uint64_t l1_offset, l1_entries;
	char name[QCOW2_OWNER_NAME_MAX]; /* of the snapshot */
};

struct q2_teller {
	struct q2_repair *repair;
	struct q2_teller_disk *disks; /* of the lists of claims/l2.h, 0 being the active image */
	size_t disk_count, disk_capacity;
	/* A step of each kind that may still grow, if its kind is not NULL. */
	struct qcow2_repair_step *open;
	uint64_t *shared_by; /* L1 entries that lead to the table, of each step */
};

/* Reads the list of disks. 0, or -1 with repair->err filled; release it in any case. */
int q2_teller_init(struct q2_teller *teller, struct q2_repair *repair);
void q2_teller_release(struct q2_teller *teller);

/* An entry of an L1 table: whose, and which. */
struct q2_l1_user {
	uint32_t list, l1_index;
};

/* What is done about entries side by side. */
struct q2_entry_told {
	enum qcow2_problem_id id;
	const char *does; /* lives as long as the program */
	bool costs;
	bool is_l1; /* the entry is that of the L1 table; else entries of the L2 table that it
		     * leads to: */
	uint64_t first,
		end;    /* their subclusters, Q2_SUBCLUSTERS each, counted from the first entry */
	uint64_t count; /* entries that were not counted with another part of them */
	uint64_t shared_by; /* L1 entries that lead to the L2 table and are not told one by one */
	enum qcow2_reads before, after;
};

/* Whether the second one goes on where the first one ends, and is the same otherwise. */
bool q2_entry_told_continues(const struct q2_entry_told *a, const struct q2_entry_told *b);

/* Tells of it now or later, for one user. 0, or -1 with repair->err filled. */
int q2_teller_add(struct q2_teller *teller, struct q2_l1_user user,
		  const struct q2_entry_told *told);

/* Tells what is still open. */
int q2_teller_flush(struct q2_teller *teller);

#endif
