/* SPDX-License-Identifier: MIT */
/* One call of qcow2 undo. */
#ifndef CMD_UNDO_UNDO_H
#define CMD_UNDO_UNDO_H

#include "undo/list.h"

struct undo_run {
	const struct command *command;
	char **operands;
	size_t operand_count;
	struct undo_prune prune;
	bool list, pruning, aged, exact, force, as_json;
	struct spool out;
	struct json json;
};

/* The first operand is an undo file: shows what it holds, or undoes. Returns the exit code. */
int undo_one(struct undo_run *run);

#endif
