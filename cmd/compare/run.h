/* SPDX-License-Identifier: MIT */
/* One call of qcow2 compare: two disks, and where they differ. */
#ifndef CMD_COMPARE_RUN_H
#define CMD_COMPARE_RUN_H

#include "common/disk.h"
#include "out/progress.h"
#include "out/spool.h"

/* Exit codes of qemu-img compare. */
enum {
	COMPARE_SAME = 0,
	COMPARE_DIFFERENT = 1,
	COMPARE_COULD_NOT = 2,
	COMPARE_NO_EXTENTS = 3,
	COMPARE_NO_DATA = 4,
};

/* What a disk has at a place, in the order of enum qcow2_disk_kind; then: it has ended. */
#define COMPARE_NONE ((unsigned)QCOW2_DISK_UNREADABLE + 1)

struct compare_range {
	uint64_t start_bytes, length_bytes;
	unsigned kinds[2];
	bool reads_same; /* only what is stored differs */
};

struct compare_run {
	const struct command *command;
	struct disk_request requests[2];
	bool strict, as_json, progress_wanted;
	unsigned threads;
	struct disk disks[2];
	uint64_t sizes[2];
	uint8_t **buffers; /* two for each thread, made when they are needed */
	struct spool out;
	struct progress progress;
	/* What was found. The last range may still grow; of length 0: there is none. */
	struct compare_range last;
	uint64_t ranges, bytes; /* that differ */
	uint64_t first_bytes;   /* where the first of them begins */
	/* Of a failure: the disk that it is about, and the exit code. */
	unsigned blamed;
	int code;
};

/* Finds all ranges that differ. Returns 0, or -1 with *err, run->blamed and run->code filled. */
int compare_walk(struct compare_run *run, struct qcow2_error *err);

/* Adds a range that differs, behind those of before. */
void compare_add(struct compare_run *run, const struct compare_range *range);

/* Whether nothing more has to be known. */
bool compare_is_done(const struct compare_run *run);

/* Ends the page. */
void compare_show_end(struct compare_run *run);

#endif
