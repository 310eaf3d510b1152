/* SPDX-License-Identifier: MIT */
/* What qcow2 info knows of one image, and the two pages that show it. */
#ifndef CMD_INFO_INFO_H
#define CMD_INFO_INFO_H

#include <stdbool.h>

#include "out/json.h"
#include "out/problem_log.h"
#include "out/spool.h"

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

/* The image as people want to know it. What fails is noted; the page is then not whole. */
void info_show_human(struct spool *out, struct info *info, bool colour);

/* The image as `qemu-img info --output=json` shows it, key for key; failure likewise. */
void info_show_json(struct json *json, struct info *info);

/*
 * The path of a backing file: name as it is if it is absolute or of a protocol, else relative to
 * the directory of file. The caller frees it; NULL if memory is short.
 */
char *info_full_name(const char *file, struct qcow2_bytes name);

/* Whether a name leads through a protocol ("nbd:…", "json:…") instead of to a file. */
bool info_is_protocol(struct qcow2_bytes name);

/* The data of a string extension, or empty. */
struct qcow2_bytes info_extension_text(const struct qcow2_image *image, uint32_t magic);

#endif
