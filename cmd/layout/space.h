/* SPDX-License-Identifier: MIT */
/* Where the space of a file went that somebody could get back, and the commands that do. */
#ifndef CMD_LAYOUT_SPACE_H
#define CMD_LAYOUT_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2/error.h>

struct layout;

struct layout_space {
	/* Free clusters below the end of the image that the file stores: punching gives them back. */
	uint64_t free_bytes;
	uint64_t free_runs;
	uint64_t largest_start_bytes, largest_length_bytes; /* the longest run of these */
	uint64_t leaked_bytes;
	bool has_users; /* it is known who refers to what */
	/* What deleting all snapshots, or removing all bitmaps, would free. */
	uint64_t snapshots_bytes, snapshot_count;
	uint64_t bitmaps_bytes, bitmap_count;
	/* Data of the guest for which the file stores nothing: it reads as zeros. */
	uint64_t zero_bytes;
	/* From the end of the image to the end of the file, and what the file stores of it. */
	uint64_t behind_bytes, behind_stored_bytes;
};

/* Where space is. The order is that of the pages. */
enum layout_place {
	LAYOUT_FREE,
	LAYOUT_LEAKED,
	LAYOUT_SNAPSHOTS,
	LAYOUT_BITMAPS,
	LAYOUT_ZERO,
	LAYOUT_BEHIND,
	LAYOUT_PLACES
};

/* Room for a command with the name of a file; where that is longer, the command has IMAGE. */
#define LAYOUT_COMMAND_MAX 4352

/* One place. */
struct layout_gain {
	const char *name;  /* "free", "leaked" */
	const char *title; /* the same for people */
	bool known;        /* else bytes is 0 */
	uint64_t bytes;
	char command[LAYOUT_COMMAND_MAX]; /* that gives them back; empty: there is none */
	char detail[160];                 /* what it is about, and what the command does not do */
};

/* Fills layout->space in one pass over the runs. 0, or -1 with *err filled. */
int layout_space_measure(struct layout *layout, struct qcow2_error *err);

/*
 * Why commands that change the image could do harm: it is corrupt, what nothing refers to may be lost
 * data of the guest, or nobody can say that no other program has it open for writing. NULL: they can
 * do none.
 */
const char *layout_space_doubt(const struct layout *layout);

/* Describes a place. Commands that change the image are left out where they could do harm. */
void layout_space_gain(const struct layout *layout, enum layout_place place,
		       struct layout_gain *gain);

#endif
