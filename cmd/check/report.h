/* SPDX-License-Identifier: MIT */
/* What qcow2 check has found. */
#ifndef CMD_CHECK_REPORT_H
#define CMD_CHECK_REPORT_H

#include <stdbool.h>

#include "check/damage.h"

#include <qcow2/check.h>

struct check_report {
	const char *file;
	const struct qcow2_image *image;
	struct qcow2_check_result *result;
	struct qcow2_problem *
		*problems; /* copies in the order of the check, the first of each kind */
	size_t count;
	size_t capacity;
	bool short_of_memory;
	struct check_damage damage;
	/*
	 * Checks once more, and tells `hear` of all problems of a kind (NULL: of all kinds), since
	 * too many to keep were found. NULL unless all problems are to be shown. The caller that
	 * set it remembers failures.
	 */
	void (*tell_all)(void *opaque, const struct qcow2_problem_kind *only,
			 qcow2_problem_callback hear, void *page);
	/* Likewise, of all damaged ranges; NULL unless all are to be shown. */
	void (*tell_ranges)(void *opaque,
			    int (*hear)(void *page, const struct qcow2_damage_range *range),
			    void *page);
	void *opaque; /* handed to both */
};

/* Returns how many problems of a kind are kept. */
uint64_t check_report_kept(const struct check_report *report,
			   const struct qcow2_problem_kind *kind);

#endif
