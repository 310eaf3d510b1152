/* SPDX-License-Identifier: MIT */
/*
 * Reads a plan that rescue_write_plan() has written: "writes" with phase, offset, why, old and new,
 * and the sizes of the file. Other members are skipped. A plan may have been edited by a person, so
 * nothing in it is believed: the bytes that it replaces must be there.
 */
#ifndef CMD_RESCUE_PLAN_PARSE_H
#define CMD_RESCUE_PLAN_PARSE_H

#include <stdbool.h>

#include <qcow2/edit.h>

/* Why a plan cannot be used. */
struct rescue_plan_fault {
	const char *text; /* what is wrong with it; NULL: the error below happened */
	struct qcow2_error err;
};

/* Adds the writes of a document to an empty plan. False: the fault is filled. */
bool rescue_parse_plan(struct qcow2_bytes document, struct qcow2_plan *plan,
		       struct rescue_plan_fault *fault);

#endif
