/* SPDX-License-Identifier: MIT */
/* Where the page goes: a new file that gets its name once it is whole, or standard output. */
#ifndef CMD_REPORT_TARGET_H
#define CMD_REPORT_TARGET_H

#include "common/command.h"
#include "common/new_name.h"
#include "out/spool.h"

#include <qcow2/image.h>

struct report_target {
	const struct command *command;
	const char *path; /* "-": standard output */
	bool force;
	bool is_file; /* else it is standard output */
	struct new_name name;
};

/*
 * Opens a target, before the sandbox. What is there is not changed yet. A file that is there is only
 * replaced if `force` says so, and never if it is the image at `image`, any other QCOW2 image, or larger
 * than a page can be.
 * EXIT_FINE, or EXIT_COULD_NOT when the error has been said; the target is to be closed in either case.
 */
int report_target_open(struct report_target *target, const char *image);

/* Refuses a target that the image names as its backing file or data file. As above. */
int report_target_refuse_named(const struct report_target *target, const char *path,
			       const struct qcow2_image *image);

/* Writes the page. Returns code, or EXIT_COULD_NOT when the error has been said. */
int report_target_finish(struct report_target *target, struct spool *page, int code);

/* Removes a file that was not finished. */
void report_target_close(struct report_target *target);

#endif
