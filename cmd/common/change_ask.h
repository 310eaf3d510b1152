/* SPDX-License-Identifier: MIT */
/* Asks before a change that a person has to see first. */
#ifndef CMD_COMMON_CHANGE_ASK_H
#define CMD_COMMON_CHANGE_ASK_H

#include "common/change.h"

struct change_question {
	bool yes;         /* the answer was given as an option */
	const char *text; /* "Repair the image?" */
	int (*show)(
		struct change *change); /* makes the page for that person in out; returns a code */
};

/*
 * Whether the change is to be made: for confirm() of a change. A program that calls the command is
 * not asked, nor is anybody whom the page does not reach, or if nothing would be changed.
 */
bool change_ask(struct change *change, const struct change_question *question);

#endif
