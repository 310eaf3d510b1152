/* SPDX-License-Identifier: MIT */
/* Scripts of qcow2 edit: a verb a line, see common/script.h. */
#ifndef CMD_EDIT_SCRIPT_H
#define CMD_EDIT_SCRIPT_H

#include "edit/verbs.h"

/* Adds all changes of a script to a plan. 0, or -1 with *err filled; the text names the line. */
int edit_script(struct qcow2_plan *plan, const char *path, struct edit_effect *effect,
		struct qcow2_error *err);

#endif
