/* SPDX-License-Identifier: MIT */
/* The ranges of virtual disks that the steps of a repair told of. */
#ifndef Q2_REPAIR_TOLD_H
#define Q2_REPAIR_TOLD_H

#include <qcow2/repair.h>

/* A part of a disk that a step told of. */
struct q2_told_range {
	uint64_t
		disk; /* 0: the active one; else 1 + the index of the snapshot, before the repair */
	uint64_t start, end;
};

/* All zeros: nothing was told. */
struct q2_told {
	struct q2_told_range *list;
	size_t count, capacity;
};

/* Notes the range of a step, if it has one. -1: memory is short. */
int q2_told_add(struct q2_told *told, const struct qcow2_repair_step *step);
void q2_told_release(struct q2_told *told);

/* Sorts the ranges and joins those that touch; q2_told_covers() wants that. */
void q2_told_sort(struct q2_told *told);

/* Whether all of [start, end) of a disk was told; the number of the disk as in q2_told_range. */
bool q2_told_covers(const struct q2_told *told, uint64_t disk, uint64_t start, uint64_t end);

#endif
