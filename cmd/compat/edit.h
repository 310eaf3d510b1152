/* SPDX-License-Identifier: MIT */
/* The commands of qcow2.py that change an image. */
#ifndef CMD_COMPAT_EDIT_H
#define CMD_COMPAT_EDIT_H

#include "common/undo_place.h"
#include "out/spool.h"

struct compat_edit {
	const char *file;
	const char *command;        /* "set-header", … */
	const struct command *self; /* qcow2 compat, for messages */
	const char *const *arguments;
	struct undo_choice undo; /* by default none, as with qcow2.py */
};

/* Does what qcow2.py does; messages go to out, as its do. Returns the exit code. */
int compat_edit(const struct compat_edit *edit, struct spool *out);

#endif
