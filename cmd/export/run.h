/* SPDX-License-Identifier: MIT */
/* One call of qcow2 export: what is asked, and what was found. */
#ifndef CMD_EXPORT_RUN_H
#define CMD_EXPORT_RUN_H

#include "common/command.h"
#include "common/disk.h"
#include "export/faults.h"
#include "export/ranges.h"
#include "export/stream.h"
#include "export/target.h"
#include "out/progress.h"

#include <qcow2/guest.h>

struct export_manifest;

/* What of the disk is exported. */
enum export_what { EXPORT_WHOLE, EXPORT_BITMAPS, EXPORT_RANGES };

struct export_run {
	const struct command *command;
	const char *file, *snapshot, *to, *ranges_file, *manifest;
	struct disk_key_files key_files;
	const char *image_format; /* "qcow2" or "raw"; NULL: as it begins */
	const char **bitmaps;     /* names, bitmap_count of them */
	size_t bitmap_count;
	enum export_what what;
	bool chain, salvage, stream, preallocate, sparse, force, no_sync, json;
	bool verify;
	char **operands; /* of --verify: manifests, and the target behind them */
	int operand_count;
	unsigned threads;
	/* The disk. */
	struct disk disk;
	struct qcow2_disk *guest; /* of it */
	uint64_t size_bytes;
	/* What is copied, and where to. */
	struct export_ranges ranges;
	uint8_t *list; /* the document of ranges_file */
	size_t list_bytes;
	struct export_target target;
	struct export_stream output;     /* if the target is standard output */
	struct export_manifest *records; /* NULL: no manifest was asked for */
	struct progress progress;
	/* What was found. */
	uint64_t data_bytes; /* that were read, or shared */
	uint64_t zero_bytes;
	struct export_faults faults;
};

/* Does what the command line asks for. Returns the exit code. */
int export_run(struct export_run *run);

/* Compares a target with its manifests. Returns the exit code. */
int export_verify(struct export_run *run);

/* Refuses to write in place to what is an image itself. EXIT_FINE, or EXIT_COULD_NOT and said. */
int export_refuse_image(const struct export_run *run);

/* Copies all ranges to the target. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
int export_copy(struct export_run *run);

/* Say an error of the disk, or of a file that is written. Return EXIT_COULD_NOT. */
int export_fail(const struct export_run *run, const struct qcow2_error *err);
int export_fail_target(const struct export_run *run, int errnum);
int export_fail_manifest(const struct export_run *run, int errnum);

#endif
