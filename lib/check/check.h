/* SPDX-License-Identifier: MIT */
/* The check as the rest of the library calls it: what it finds is in storage of the caller. */
#ifndef Q2_CHECK_CHECK_H
#define Q2_CHECK_CHECK_H

#include <qcow2/check.h>

#include "format/problems.h"

/* What a check found, and how many problems of each kind. */
struct q2_check_totals {
	struct qcow2_check_result sum;
	uint64_t by_kind[Q2_PROBLEM_NUMBERS]; /* indexed by enum qcow2_problem_id */
	/* With options->damage: of the active disk, then of damaged snapshots. */
	struct qcow2_damage_total *damages;
	size_t damage_count, damage_capacity;
};

/* As qcow2_check(); options may be NULL, and their size is not looked at. */
int q2_check(const struct qcow2_image *image, const struct qcow2_check_options *options,
	     struct q2_check_totals *totals, struct qcow2_error *err);

/* How many corruptions are of refcounts, copied flags, or the corrupt bit: by kind, as in totals. */
uint64_t q2_faults_of_refcounts(const uint64_t *by_kind);

/* Frees what totals have, which only happens with options->damage. Not totals itself. */
void q2_check_totals_release(struct q2_check_totals *totals);

#endif
