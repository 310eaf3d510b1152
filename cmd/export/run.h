/* SPDX-License-Identifier: MIT */
/* One call of qcow2 export: what is asked, and what was found. */
#ifndef CMD_EXPORT_RUN_H
#define CMD_EXPORT_RUN_H

#include "common/command.h"
#include "export/faults.h"
#include "export/ranges.h"
#include "export/target.h"
#include "out/progress.h"

#include <qcow2/guest.h>

struct disk;
struct export_manifest;

/* What of the disk is exported. */
enum export_what { EXPORT_WHOLE, EXPORT_BITMAPS, EXPORT_RANGES };

struct export_run {
	const struct command *command;
	const char *file, *snapshot, *to, *ranges_file, *manifest, *key_file;
	const char **bitmaps; /* names, bitmap_count of them */
	size_t bitmap_count;
	enum export_what what;
	bool chain, salvage, stream, preallocate, sparse, force, no_sync, json;
	bool verify;
	char **operands; /* of --verify: manifests, and the target behind them */
	int operand_count;
	/* The disk. */
	struct disk *disk;
	struct qcow2_disk *guest;
	const struct qcow2_image *image; /* of the disk; NULL: it is raw */
	uint64_t size_bytes;
	unsigned processors;
	/* What is copied, and where to. */
	struct export_ranges ranges;
	struct export_target target;
	struct export_manifest *records; /* NULL: no manifest was asked for */
	struct progress progress;
	/* What was found. */
	uint64_t asked_bytes; /* of the ranges */
	uint64_t data_bytes;  /* that were read, or shared */
	uint64_t zero_bytes;
	struct export_faults faults;
};

/* Does what the command line asks for. Returns the exit code. */
int export_run(struct export_run *run);

/* Compares a target with its manifests. Returns the exit code. */
int export_verify(struct export_run *run);

/* Copies all ranges to the target. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
int export_copy(struct export_run *run);

/* Says what was done, for people and for programs. Returns the exit code. */
int export_show(struct export_run *run);

/* Says an error of the image, or of the file that is written. Return EXIT_COULD_NOT. */
int export_fail(const struct export_run *run, const struct qcow2_error *err);
int export_fail_target(const struct export_run *run, const char *what, int errnum);

#endif
