/* SPDX-License-Identifier: MIT */
/* What qcow2 check has found in one image, and how it is to be shown. */
#ifndef CMD_CHECK_REPORT_H
#define CMD_CHECK_REPORT_H

#include <stdbool.h>

#include "check/cause.h"
#include "check/damage.h"

#include <qcow2/check.h>

/* The problems of a kind that a document has, unless all are wanted. */
#define CHECK_SHOWN_TO_PROGRAMS 100U

struct check_report {
	const char *file;
	const struct qcow2_image *image;
	struct qcow2_check_result *result;
	struct qcow2_problem *
		*problems; /* copies in the order of the check, the first of each kind */
	size_t count;
	size_t capacity;
	bool short_of_memory;
	bool colour;
	bool terminal; /* the page goes to a terminal, which is `columns` wide */
	bool verbose;  /* show what is left out as a rule */
	bool deep;     /* compressed data was inflated */
	/* Whether the image has undo files is known; else it is looked for them where they are. */
	bool undo_known, has_undo;
	unsigned columns; /* that lines of the page may take */
	/* Problems of a kind, ranges and snapshots that are listed, the rest is counted; 0: all. */
	uint64_t list_most;
	struct check_damage damage;
	struct check_cause causes[CHECK_CAUSES_MAX];
	size_t cause_count;
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

/* Keeps a copy of a problem. False, and short_of_memory is set, if there is no memory. */
bool check_report_keep(struct check_report *report, const struct qcow2_problem *problem);

/* Returns how many problems of a kind are kept. */
uint64_t check_report_kept(const struct check_report *report,
			   const struct qcow2_problem_kind *kind);

/* Returns how many of so many entries of a list are shown. */
uint64_t check_report_bounded(const struct check_report *report, uint64_t entries);

/* Returns how many problems with a number of enum qcow2_problem_id were found, kept or not. */
uint64_t check_report_found(const struct check_report *report, unsigned number);

/* Whether mapping tables are lost, so that clusters that leak may be the guest's data. */
bool check_report_lost(const struct check_report *report);

/* Whether not all clusters that leak were read, so that they may be the guest's data after all. */
bool check_report_unread(const struct check_report *report);

/* Frees the problems and the result. */
void check_report_release(struct check_report *report);

#endif
