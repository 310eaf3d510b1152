/* SPDX-License-Identifier: MIT */
/* Names that start with "json:", as QEMU's tools write them into images: which file they mean. */
#ifndef CMD_COMMON_JSON_NAME_H
#define CMD_COMMON_JSON_NAME_H

#include <stdbool.h>

#include <qcow2/base.h>

#define JSON_NAME_MAX 1023

/* What such a name says. */
struct json_name {
	char format[16];              /* "driver" of the image, or "" if it is to be probed */
	char path[JSON_NAME_MAX + 1]; /* of the file; relative to the current directory */
	bool no_backing; /* "backing" is null: the file's own backing file is not used */
};

/*
 * Reads a name that starts with "json:". It is understood if it leads to one plain file, through a
 * format or none: objects of members, or dotted keys; strings between double or single quotes.
 * Options that do not change which file it is are ignored.
 *
 * Returns NULL, or why it is not understood, in a few words.
 */
const char *json_name_read(struct qcow2_bytes name, struct json_name *out);

#endif
