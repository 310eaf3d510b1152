/* SPDX-License-Identifier: MIT */
/*
 * Whether an image is sound, for commands whose numbers rely on it: what `qcow2 check` would judge,
 * without its report.
 */
#ifndef CMD_COMMON_SOUNDNESS_H
#define CMD_COMMON_SOUNDNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/command.h"
#include "out/progress.h"

#include <qcow2/image.h>

struct soundness {
	unsigned threads;            /* set by the caller; 0: one a processor */
	uint64_t memory_limit_bytes; /* likewise; 0: that of the library */
	uint64_t corruptions;
	bool leaks_may_be_data; /* leaks may be lost data of the guest */
};

/* Checks an image. Returns 0, or -1 with *err filled: the errors of qcow2_check(). */
int soundness_find(const struct qcow2_image *image, struct progress *progress,
		   struct soundness *soundness, struct qcow2_error *err);

/* Says on stderr what is wrong with the image, if anything is. Returns the exit code. */
int soundness_tell(const struct command *command, const char *file,
		   const struct soundness *soundness);

#endif
