/* SPDX-License-Identifier: MIT */
/* What qcow2 info knows of one image: what its pages show. */
#ifndef CMD_INFO_IMAGE_INFO_H
#define CMD_INFO_IMAGE_INFO_H

#include <stdbool.h>

#include "out/problem_log.h"

#include <qcow2/image.h>
#include <qcow2/source.h>

/* One image that was opened; a raw one has no image. */
struct info {
	const char *file;
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct problem_log problems;
	bool chain;  /* its backing file is shown too, if it can be */
	bool failed; /* showing it needed a read or memory that it did not get: failure says which
		      */
	struct qcow2_error failure;
};

/* Notes that showing it failed, unless err only says that a structure is broken or not there. */
void info_note(struct info *info, const struct qcow2_error *err);

#endif
