/* SPDX-License-Identifier: MIT */
/* What qcow2 info knows of one image: what its pages show. */
#ifndef CMD_INFO_IMAGE_INFO_H
#define CMD_INFO_IMAGE_INFO_H

#include <stdbool.h>

#include "common/chain.h"
#include "info/qemu.h"
#include "out/problem_log.h"

#include <qcow2/image.h>
#include <qcow2/source.h>

/* One file that was opened; one that is no qcow2 image has no image. */
struct info {
	const struct chain_link *link; /* what the members below are from */
	const char *file;
	struct qcow2_source *source;
	const struct qcow2_image *image;
	struct problem_log problems;
	enum qemu_verdict verdict; /* the worst of what its problems lead to */
	bool all;                  /* lists are shown whole */
	uint64_t rows_most;        /* of each list in JSON, the rest is counted; 0: no limit */
	size_t bytes_most;         /* of each name in JSON, likewise; 0: no limit */
	bool chain;                /* its backing file is shown too, if it can be */
	bool failed; /* showing it needed a read or memory that it did not get: failure says which
		      */
	struct qcow2_error failure;
};

/* Finds the problems of an image; a file of another format is not looked into. -1: *err says why. */
int info_examine(struct info *info, struct qcow2_error *err);

/* The data of a string extension, or empty. */
struct qcow2_bytes info_extension_text(const struct qcow2_image *image, uint32_t magic);

/* Notes that showing it failed, unless err only says that a structure is broken or not there. */
void info_note(struct info *info, const struct qcow2_error *err);

#endif
