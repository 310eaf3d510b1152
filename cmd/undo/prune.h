/* SPDX-License-Identifier: MIT */
/* Removes undo files that nobody can need any more. */
#ifndef CMD_UNDO_PRUNE_H
#define CMD_UNDO_PRUNE_H

#include "common/command.h"
#include "out/json.h"
#include "out/spool.h"
#include "undo/list.h"

struct undo_prune {
	const struct command *command;
	uint64_t older_seconds;
	bool yes, force, as_json;
};

/* Parses an age: a number and s, m, h, d or w. False if it is none. */
bool undo_age(const char *text, uint64_t *seconds);

/* Shows what would go, asks, and removes it. Returns the exit code. */
int undo_prune(const struct undo_prune *prune, struct undo_list *list, struct spool *out,
	       struct json *json);

#endif
