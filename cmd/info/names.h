/* SPDX-License-Identifier: MIT */
/* Names that an image has of other files. */
#ifndef CMD_INFO_NAMES_H
#define CMD_INFO_NAMES_H

#include <stdbool.h>

#include <qcow2/image.h>

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
