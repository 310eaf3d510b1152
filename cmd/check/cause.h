/* SPDX-License-Identifier: MIT */
/*
 * One cause of many problems: a structure that reads as zeros, as disks and file systems leave it
 * after a failure. Each of its entries breaks several rules then, and none of them says why.
 */
#ifndef CMD_CHECK_CAUSE_H
#define CMD_CHECK_CAUSE_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2/problem.h>

struct check_report;

struct check_cause {
	const char *what;  /* "the bitmap directory" */
	const char *where; /* its selector */
	uint64_t offset_bytes;
	uint64_t length_bytes; /* of the part that was found to be zeros */
	const char *prefix;    /* ids of the kinds that follow from it begin with this, or NULL */
};

/* The most causes that an image can have. */
#define CHECK_CAUSES_MAX 4

/*
 * Finds causes of what was found, and reads the structures in question. *count: set to how many.
 * Returns 0, or -1 with *err filled if something cannot be read, or memory is short.
 */
int check_causes(const struct check_report *report, struct check_cause causes[CHECK_CAUSES_MAX],
		 size_t *count, struct qcow2_error *err);

/* Whether all problems of a kind follow from a cause. */
bool check_cause_explains(const struct check_cause *cause, const struct qcow2_problem_kind *kind);

#endif
