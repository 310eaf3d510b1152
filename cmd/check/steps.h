/* SPDX-License-Identifier: MIT */
/* What to do about what a check found: commands that can be copied, in their order. */
#ifndef CMD_CHECK_STEPS_H
#define CMD_CHECK_STEPS_H

#include "check/report.h"

#include <qcow2/remedy.h>

#define STEPS_MOST  64
#define MENDS_MOST  32
#define COSTS_MOST  4
#define DETAIL_MOST 160

struct check_step {
	char *command;            /* a line for a shell, or NULL: `does` says what to do */
	const char *does;         /* a sentence */
	char detail[DETAIL_MOST]; /* a sentence with numbers of this image, or empty */
	const char *qemu;         /* what qemu-img check -r all does about the problems, or NULL */
	const char *costs[COSTS_MOST]; /* sentences */
	size_t cost_count;
	/* The kinds that it mends, of which MENDS_MOST are named, and how many problems. */
	const struct qcow2_problem_kind *mends[MENDS_MOST];
	size_t mend_count;
	uint64_t problems;
	bool mends_image;   /* the command mends them, in the image itself */
	bool frees_content; /* it frees leaked clusters that hold something */
	bool says_itself;   /* everybody knows what the command does */
	bool by_hand;       /* words in capitals are to be filled in, or there is no command */
};

struct check_steps {
	struct check_step list[STEPS_MOST];
	size_t count;
	bool short_of_memory; /* commands are missing: do not show the steps */
};

/*
 * Fills in the steps for what was found; none if nothing has to be done. The caller releases them.
 */
void check_steps_make(struct check_steps *steps, const struct check_report *report);

void check_steps_release(struct check_steps *steps);

#endif
