/* SPDX-License-Identifier: MIT */
/* How rules report: a problem is filled in, given its place, and handed to whoever listens. */
#ifndef Q2_RULES_REPORT_H
#define Q2_RULES_REPORT_H

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
	enum qcow2_expectation expectation;
	uint64_t expected;
	bool has_guest;
	uint64_t guest_byte;
	uint64_t guest_length_bytes;
	bool has_cluster; /* a host cluster is concerned */
	uint64_t cluster_offset_bytes;
};

/* Reports a finding; where is a printf format for the place's path. */
void q2_report(const struct q2_reporter *reporter, const struct q2_finding *finding,
	       const char *where, ...) __attribute__((format(printf, 3, 4)));

#endif
