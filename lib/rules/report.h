/* SPDX-License-Identifier: MIT */
/* How rules report: a problem is filled in, given its place, and handed to whoever listens. */
#ifndef Q2_RULES_REPORT_H
#define Q2_RULES_REPORT_H

#include "image/guest.h"

#include <qcow2/problem.h>

/*
 * Who listens. problem is called once per problem; opaque is handed back to it. wanted, which may
 * be NULL, is asked first: where it says no, the problem's text is not made and problem not called.
 */
struct q2_reporter {
	void (*problem)(void *opaque, const struct qcow2_problem *problem);
	void *opaque;
	bool (*wanted)(void *opaque, enum qcow2_problem_id id);
};

/* What is wrong, without its place's name. Members left out mean: nothing found or expected. */
struct q2_finding {
	enum qcow2_problem_id id;
	uint64_t offset_bytes;
	bool has_found;
	uint64_t found;
	struct qcow2_bytes found_text; /* instead of found; its data is NULL if there is none */
	enum qcow2_expectation expectation;
	uint64_t expected;
	/*
	 * The range of a virtual disk that is concerned; none if its length is 0, or if the disk is
	 * NULL. shared_by: how many L1 entries lead to the L2 table that maps the range, which is
	 * that of the first; 0 if one does.
	 */
	const struct q2_disk *disk;
	struct q2_guest_range guest;
	uint64_t shared_by;
	bool has_cluster; /* a host cluster is concerned */
	uint64_t cluster_offset_bytes;
};

/* Fills the guest range of a problem that has none so far, as the members of a finding say. */
void q2_set_guest(struct qcow2_problem *problem, const struct q2_disk *disk,
		  struct q2_guest_range guest, uint64_t shared_by);

/*
 * Says of a finding that names no range of its own that it concerns a whole disk, if its kind does
 * any harm to what the guest reads.
 */
void q2_concern_disk(struct q2_finding *finding, const struct q2_disk *disk);

/* Reports a finding; where is a printf format for the place's path. */
void q2_report(const struct q2_reporter *reporter, const struct q2_finding *finding,
	       const char *where, ...) __attribute__((format(printf, 3, 4)));

#endif
