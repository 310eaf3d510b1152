/* SPDX-License-Identifier: MIT */
/* One call of qcow2 undo. */
#ifndef CMD_UNDO_RUN_H
#define CMD_UNDO_RUN_H

#include "undo/prune.h"

struct undo_run {
	const struct command *command;
	char **operands;
	size_t operand_count;
	struct undo_prune prune;
	bool list, pruning, aged, exact, force, as_json;
	struct spool out;
	struct json json;
};

#endif
