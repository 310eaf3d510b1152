/* SPDX-License-Identifier: MIT */
/* One call of qcow2 map. */
#ifndef CMD_MAP_RUN_H
#define CMD_MAP_RUN_H

#include "common/command.h"
#include "map/stack.h"
#include "map/text.h"
#include "out/progress.h"
#include "out/spool.h"

/* What the extents of one state come to. */
struct map_total {
	uint64_t extents, bytes;
};

struct map_run {
	const struct command *command;
	const char *file;
	const char *snapshot; /* as the command line names it, or NULL */
	enum map_format format;
	bool chain;
	unsigned processors;
	bool binary;                        /* --binary was given */
	uint64_t start_bytes, length_bytes; /* of the range; length_bytes UINT64_MAX: all */
	struct map_stack stack;
	struct spool out;
	struct progress progress;
	struct map_text text;
	uint64_t shown; /* extents */
	/* What cannot be read, and the first extent of it. */
	struct map_total invalid;
	struct map_extent first_invalid;
};

/* Show the range. Each returns EXIT_FINE, or EXIT_COULD_NOT with *err filled. */
int map_show_human(struct map_run *run, struct qcow2_error *err);
int map_show_data(struct map_run *run, struct qcow2_error *err);

/*
 * Finds the next extent, and counts what is invalid. Returns 1 with *out set, which lives until the
 * next call; 0 at the end, or when nothing can be printed any more; or -1 with *err filled.
 */
int map_next(struct map_run *run, const struct map_extent **out, struct qcow2_error *err);

#endif
