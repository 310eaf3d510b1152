/* SPDX-License-Identifier: MIT */
/* One call of qcow2 read: what is asked, and what could not be read. */
#ifndef CMD_READ_RUN_H
#define CMD_READ_RUN_H

#include "common/disk.h"
#include "common/range.h"
#include "out/progress.h"
#include "out/spool.h"

/* How many bytes are read at once. */
#define READ_PIECE_BYTES ((size_t)1 << 20)

/* A range that is zeros as it could not be read. */
struct read_fault {
	uint64_t start_bytes, length_bytes;
	uint32_t depth; /* of the file at fault */
	enum qcow2_problem_id problem;
	struct qcow2_error error;
};

/* All of them; neighbours that fail for the same reason are told as one. */
struct read_faults {
	uint64_t ranges, bytes;
	/* The last one, which has not been told as it may still grow; of length 0: there is none. */
	struct read_fault last;
};

struct read_run {
	const struct command *command;
	struct disk_request request;
	const char **texts;   /* of --guest, text_count of them */
	struct range *ranges; /* what these mean, or all of the disk */
	size_t text_count, range_count;
	bool hex;
	unsigned threads;
	struct disk disk;
	struct spool out;
	struct progress progress;
	uint64_t done_bytes, total_bytes; /* of all ranges */
	struct read_faults faults;
};

/*
 * Write all ranges to standard output, as bytes or as a hex dump. Each returns 0, or -1 with *err
 * filled.
 */
int read_bytes(struct read_run *run, struct qcow2_error *err);
int read_hex(struct read_run *run, struct qcow2_error *err);

/* Notes a range that could not be read, and tells those before it. */
void read_faults_add(struct read_run *run, const struct read_fault *fault);
/* The same, of one that the library tells. */
void read_faults_hear(struct read_run *run, const struct qcow2_disk_fault *fault);

/* Tells what is left to tell. Returns the exit code. */
int read_faults_end(struct read_run *run);

/* Counts bytes for the line that shows progress. */
static inline void read_did(struct read_run *run, uint64_t bytes)
{
	run->done_bytes += bytes;
	progress_share(&run->progress, run->done_bytes, run->total_bytes);
}

#endif
