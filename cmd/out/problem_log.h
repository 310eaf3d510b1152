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

/* As large as the largest number of a kind, and one more. */
union problem_numbers {
#define QCOW2_PROBLEM(number, ID, id, severity, damage, remedy, section, text, consequence)        \
	char up_to_##ID[(number) + 1];
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
};

struct problem_log {
	struct qcow2_problem **kept; /* copies */
	size_t count;
	size_t capacity;
	size_t most; /* that are kept of all kinds together; 0: no limit but PROBLEMS_KEPT of each */
	uint64_t seen[sizeof(union problem_numbers)]; /* by number of the kind, kept or not */
	bool corrupt;                                 /* one of them is a corruption */
	bool short_of_memory;
};

void problem_log_add(struct problem_log *log, const struct qcow2_problem *problem);
void problem_log_release(struct problem_log *log);

/* How many problems of a kind there were, kept or not. */
uint64_t problem_log_seen(const struct problem_log *log, const struct qcow2_problem_kind *kind);

/* How many of these are not kept. */
uint64_t problem_log_omitted(const struct problem_log *log, const struct qcow2_problem_kind *kind);

/* How many problems there were in all. */
uint64_t problem_log_total(const struct problem_log *log);

/* "0x5", "at most 21", "a multiple of 65536", or "" if nothing is expected. Returns buffer. */
const char *problem_expected(const struct qcow2_problem *problem, char *buffer, size_t size);

/* A range of a virtual disk. */
struct problem_guest {
	uint64_t start_byte, length_bytes;
	const char *snapshot; /* the name of the snapshot whose disk it is, or NULL */
	uint64_t count; /* of the ranges that the L2 table maps, if this is the first of many */
};

/* The range that a problem or an owner of its cluster names, for as long as that lives; or false. */
bool problem_guest(const struct qcow2_problem *problem, struct problem_guest *guest);
bool problem_owner_guest(const struct qcow2_owner *owner, struct problem_guest *guest);

/* ", guest 0x0..0xffff (snapshot \"one\")", the snapshot only if it shall be named. */
void problem_print_guest(struct spool *out, const struct problem_guest *guest, bool name_snapshot);

/* " found 5 (0x5)", of a table's entry " found 0x5", " found \"a name\"", or nothing. */
void problem_print_found(struct spool *out, const struct qcow2_problem *problem);

/* "expected at most 131072 (0x20000)"; something is expected. */
void problem_print_expected(struct spool *out, const struct qcow2_problem *problem);

/* One line without its end: severity, id, place, values, text. */
void problem_print(struct spool *out, const struct qcow2_problem *problem, bool colour);

#endif
