/* SPDX-License-Identifier: MIT */
/*
 * Collects problems for the end of a page: the first PROBLEMS_KEPT of each kind, the rest counted,
 * so that an image with millions of faults costs no more than one with a few.
 */
#ifndef CMD_OUT_PROBLEM_LOG_H
#define CMD_OUT_PROBLEM_LOG_H

#include "out/spool.h"

#include <qcow2/problem.h>

#define PROBLEMS_KEPT 100

struct problem_log {
	struct qcow2_problem *kept;
	size_t count;
	size_t capacity;
	uint64_t seen[QCOW2_PROBLEM_COUNT]; /* by kind, kept or not */
	bool corrupt;                       /* one of them is a corruption */
	bool short_of_memory;
};

void problem_log_add(struct problem_log *log, const struct qcow2_problem *problem);
void problem_log_release(struct problem_log *log);

/* How many problems there were in all. */
uint64_t problem_log_total(const struct problem_log *log);

/* "0x5", "at most 21", "a multiple of 65536", or "" if nothing is expected. Returns buffer. */
const char *problem_expected(const struct qcow2_problem *problem, char *buffer, size_t size);

/* One line without its end: severity, id, place, values, text. */
void problem_print(struct spool *out, const struct qcow2_problem *problem, bool colour);

#endif
