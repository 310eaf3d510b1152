/* SPDX-License-Identifier: MIT */
/* One change of bitmaps, of the command line or of a line of a script. */
#ifndef CMD_BITMAP_ACT_H
#define CMD_BITMAP_ACT_H

#include "bitmap/run.h"
#include "bitmap/told.h"

/* One action with its words and options. */
struct act {
	const char *verb; /* of the table of actions */
	char **words;
	size_t count;
	uint64_t granularity;
	bool disabled, raw, force;
	bool chain; /* merge: sources are in all images of the chain */
	const char *from;
	const char *file; /* the image that is changed */
	const struct command *command;
	struct told_list *told; /* what was done */
};

/* Does it, in an editor, and remembers what it did. 0, or -1 with *err filled. */
int act_run(struct qcow2_bitmap_editor *editor, const struct act *act, struct qcow2_error *err);

/* Fills *err with QCOW2_ERROR_ARGUMENT and a text. Returns -1. */
int act_fail(struct qcow2_error *err, const char *text);

#endif
