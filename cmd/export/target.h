/* SPDX-License-Identifier: MIT */
/*
 * Where the bytes go: a new file, which has another name until it is whole; a file or a device that
 * is there and is written in place; or standard output.
 */
#ifndef CMD_EXPORT_TARGET_H
#define CMD_EXPORT_TARGET_H

#include "common/command.h"
#include "common/new_name.h"

#include <qcow2/source.h>

struct disk;

enum export_target_kind { EXPORT_TO_OUTPUT, EXPORT_TO_NEW, EXPORT_IN_PLACE };

/* What a target has to be like. */
struct export_wanted {
	const char *path;  /* "-": standard output */
	const char *image; /* the file that must not be it, whatever else there is */
	bool in_place;     /* it is there, and only a part of it is written */
	bool force;        /* a file of that name is replaced, a device is written to */
	bool preallocate, no_sync;
};

struct export_target {
	const struct command *command;
	struct export_wanted wanted;
	enum export_target_kind kind;
	int fd;
	bool is_device;
	uint64_t size_bytes;        /* of what is there: the file in place, or the device */
	uint64_t tail_bytes;        /* where a file in place ends that grows; else UINT64_MAX */
	struct new_name name;       /* of a new file */
	struct qcow2_source *locks; /* keep others out of what is written in place */
};

/*
 * Opens a target, before the sandbox. What is there is not changed yet. EXIT_FINE, or EXIT_COULD_NOT
 * when the error has been said; the target has to be closed in either case.
 */
int export_target_open(struct export_target *target, const struct command *command,
		       const struct export_wanted *wanted);

/*
 * Refuses a target that is a file of the disk, or too small or too large for it, and gives a new
 * file the size of the disk. Returns as above.
 */
int export_target_prepare(struct export_target *target, const struct disk *disk,
			  uint64_t size_bytes);

/*
 * Whether a range lies behind the end of a file that is written in place. The size of such a file is
 * all that says how far a call of before has come, which was cut off: so these ranges are written in
 * rising order, and never by two threads.
 */
bool export_target_grows(const struct export_target *target, uint64_t offset_bytes);

/* Both are for all but standard output, thread safe, and return 0 or an errno value. */
int export_target_write(const struct export_target *target, uint64_t offset_bytes,
			const uint8_t *bytes, size_t size);
/* Makes a range read as zeros; of a new file it does so already. */
int export_target_zero(const struct export_target *target, uint64_t offset_bytes,
		       uint64_t length_bytes);

/* Whether a range of a source is in the target without being read. */
bool export_target_share(const struct export_target *target, const struct qcow2_source *source,
			 uint64_t source_offset, uint64_t offset_bytes, uint64_t length_bytes);

/*
 * Brings all to the medium, and gives a new file its name. EXIT_FINE, or EXIT_COULD_NOT when the
 * error has been said.
 */
int export_target_finish(struct export_target *target);

/* Closes, and removes a new file that was not finished. */
void export_target_close(struct export_target *target);

#endif
