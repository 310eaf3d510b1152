/* SPDX-License-Identifier: MIT */
/* One call of qcow2 measure: what is asked, and what was found. */
#ifndef CMD_MEASURE_RUN_H
#define CMD_MEASURE_RUN_H

#include "common/command.h"
#include "map/stack.h"
#include "measure/target.h"
#include "out/spool.h"

#include <qcow2/measure.h>
#include <qcow2/usage.h>

struct measure_run {
	const struct command *command;
	const char *file;     /* NULL: a new image of size_bytes */
	const char *snapshot; /* as the command line names it, or NULL */
	bool chain, json, has_size;
	uint64_t size_bytes; /* of the disk */
	struct measure_target target;
	struct map_stack stack;
	struct spool out;
	/* What was found. */
	struct qcow2_measure_size size;
	bool has_bitmaps;
	uint64_t bitmaps_bytes;
	bool backing_left_out; /* the image has a backing file, which was not asked for */
	/* The file as it is, if there is one. */
	bool has_image;
	uint64_t file_bytes;
	unsigned threads;
	struct qcow2_usage *usage;
	struct qcow2_measure_image image;
	/* A commit into the next file of the chain, if there is one. */
	bool has_commit;
	uint64_t base_bytes;   /* the size of its file now */
	uint64_t commit_bytes; /* and what it grows to at most */
	/* What cannot be read. */
	uint64_t invalid_bytes;
	struct map_extent first_invalid;
	/* Why snapshots or bitmaps could not be told, though the image is not to blame. */
	bool failed;
	struct qcow2_error err;
};

/* Measures; the stack is open, unless a size was given. 0, or -1 with *err filled. */
int measure_all(struct measure_run *run, struct qcow2_error *err);

/* A snapshot or a bitmap. Its texts belong to the iterator: copy what you keep. */
struct measure_user {
	bool is_snapshot;
	struct qcow2_bytes id, name; /* a bitmap has no ID */
	uint64_t kept_bytes;         /* of the file with the active disk and this one */
};

/*
 * Whom to tell of each snapshot, or of each bitmap, in the order of its table. At most `most` are
 * told, at most 1,000.
 */
struct measure_each {
	bool snapshots;
	uint64_t most;
	void (*tell)(void *opaque, const struct measure_user *user);
	void *opaque;
};

/* Returns how many more there are. */
uint64_t measure_each(struct measure_run *run, const struct measure_each *each);

/* Print what was found. */
void measure_show_json(struct measure_run *run);
void measure_show_human(struct measure_run *run);

#endif
