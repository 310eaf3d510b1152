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

/* The disk of an L1 table. */
struct q2_mended_disk {
	uint64_t size_bytes;
	char name[QCOW2_OWNER_NAME_MAX];
};

struct q2_teller {
	struct q2_repair *repair;
	struct q2_mended_disk *disks; /* of the lists of claims/l2.h, 0 being the active image */
	size_t disk_count, disk_capacity;
	/* A step of each kind that may still grow, if its kind is not NULL. */
	struct qcow2_repair_step *open;
	uint64_t *shared_by; /* L1 entries that lead to the table, of each step */
};

/* Reads the list of disks. 0, or -1 with repair->err filled; release it in any case. */
int q2_teller_init(struct q2_teller *teller, struct q2_repair *repair);
void q2_teller_release(struct q2_teller *teller);

/* The size of the disk of a list; that of the active disk if there is no such list. */
uint64_t q2_teller_disk_bytes(const struct q2_teller *teller, uint32_t list);

/* What becomes of a part of a disk. */
struct q2_mended {
	enum qcow2_problem_id id;
	const char *does; /* lives as long as the program */
	bool costs;
	uint32_t list;
	uint64_t l1_index, entry; /* entry: Q2_TOLD_L1 for that of the L1 table */
	uint64_t shared_by;       /* L1 entries that lead to the L2 table */
	struct q2_guest_range guest;
	enum qcow2_reads before, after;
	bool again; /* the entry was counted with another part of it */
};

#define Q2_TOLD_L1 UINT64_MAX

/* Tells of it now or later. 0, or -1 with repair->err filled. */
int q2_teller_add(struct q2_teller *teller, const struct q2_mended *told);

/* Tells what is still open. */
int q2_teller_flush(struct q2_teller *teller);

#endif
