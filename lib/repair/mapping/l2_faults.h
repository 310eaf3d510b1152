/* SPDX-License-Identifier: MIT */
/* Which rules an entry breaks by itself, and where the entry is, from the path of a problem. */
#ifndef Q2_REPAIR_L2_FAULTS_H
#define Q2_REPAIR_L2_FAULTS_H

#include "repair/mapping/l2_entry.h"
#include "repair/repair.h"

/* The most rules that one entry breaks. */
#define Q2_FAULTS_MOST 12

struct q2_faults {
	enum qcow2_problem_id ids[Q2_FAULTS_MOST];
	unsigned count;
};

struct q2_faults q2_faults_of_l2(const struct q2_repair *repair, struct q2_l2_pair pair,
				 uint64_t guest_byte);
struct q2_faults q2_faults_of_l1(const struct q2_repair *repair, uint64_t entry);
bool q2_faults_has(const struct q2_faults *faults, enum qcow2_problem_id id);

/* What the entries of the image have in common. */
struct q2_entries q2_faults_entries(const struct q2_repair *repair);

/* An entry by its path, such as "snapshots/0/l2/3/17". */
struct q2_fault_place {
	uint32_t list; /* as in claims/l2.h */
	uint64_t l1_index, entry;
};

/* Reads such a path; false if it is none of an entry of an L1 table, or of an L2 table. */
bool q2_faults_read_place(const char *where, bool l2, struct q2_fault_place *place);

/*
 * Notes what --all would do, of a kind of problem that q2_repair_may() did not let be mended
 * because of its costs.
 */
void q2_faults_leave(struct q2_repair *repair, enum qcow2_problem_id id);

#endif
