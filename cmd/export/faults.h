/* SPDX-License-Identifier: MIT */
/*
 * Ranges of the disk that could not be read and are zeros in the target. Neighbours that fail for the
 * same reason are one range. Very many are counted, so that a hostile image costs little.
 */
#ifndef CMD_EXPORT_FAULTS_H
#define CMD_EXPORT_FAULTS_H

#include <qcow2/guest.h>

/* The most that are kept. */
#define EXPORT_FAULTS_MOST 65536

struct export_fault {
	uint64_t start_bytes, length_bytes;
	uint32_t depth; /* of the file at fault */
	enum qcow2_error_code code;
	enum qcow2_problem_id problem;
	char *text; /* why, of the first byte */
};

/* All zeros: empty. */
struct export_faults {
	struct export_fault *list;
	size_t count, room;
	uint64_t bytes;   /* all that could not be read */
	uint64_t omitted; /* ranges that are not in the list */
	bool short_of_memory;
};

/* Adds what the library tells. Returns 0, or -1 if memory is short. */
int export_faults_add(struct export_faults *faults, const struct qcow2_disk_fault *fault);

/* Moves all of `from`, which is empty then, behind those that are there. Returns 0 or -1. */
int export_faults_move(struct export_faults *faults, struct export_faults *from);

void export_faults_release(struct export_faults *faults);

#endif
