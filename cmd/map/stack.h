/* SPDX-License-Identifier: MIT */
/*
 * The extents of a disk over all files that it is made of: what the image leaves open, the backing
 * file says. Extents are joined as far as they say the same.
 */
#ifndef CMD_MAP_STACK_H
#define CMD_MAP_STACK_H

#include "common/command.h"
#include "map/layer.h"

struct map_stack {
	struct map_layer *layers; /* [0] is the image; all are closed with the stack */
	size_t count;
	uint64_t at_bytes, end_bytes; /* [at, end) has not been looked at */
	/* One of the two may still grow (length_bytes 0: there is none); the other was given out. */
	struct map_extent extents[2];
	unsigned pending; /* which one may still grow */
};

/*
 * Opens only the image in a source, which is the stack's from then on, or the snapshot of that name
 * if that is not NULL. 0, or -1 with *err filled.
 */
int map_stack_open(struct map_stack *stack, const char *file, struct qcow2_source *source,
		   const char *snapshot, struct qcow2_error *err);

/* What failed. */
struct map_blame {
	struct qcow2_error err;
	char *file; /* that it is about; the caller frees it. NULL: memory is short */
};

/*
 * Opens the backing files as well, within the limits of common, which may be NULL. Returns 0, or -1 with *blame filled.
 */
int map_stack_open_chain(struct map_stack *stack, const struct common *common, const char *file,
			 const char *snapshot, struct map_blame *blame);

/*
 * Opens one or the other, as a command line says, enters the sandbox, and says what failed. EXIT_FINE or EXIT_COULD_NOT;
 * the stack has to be closed in either case.
 */
int map_stack_open_said(struct map_stack *stack, const struct command *command, const char *file,
			const char *snapshot, bool chain);

/* Shows a range from now on; it is cut where the disk ends. */
void map_stack_seek(struct map_stack *stack, uint64_t start_bytes, uint64_t length_bytes);

/*
 * Finds the next extent. Returns 1 with *out set, which lives until the next call; 0 at the end of
 * the range; or -1 with *err filled.
 */
int map_stack_next(struct map_stack *stack, const struct map_extent **out, struct qcow2_error *err);

void map_stack_close(struct map_stack *stack);

#endif
