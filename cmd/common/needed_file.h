/* SPDX-License-Identifier: MIT */
/* Whether a file that is to be replaced is one that an image needs, though it may not be open. */
#ifndef CMD_COMMON_NEEDED_FILE_H
#define CMD_COMMON_NEEDED_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include <qcow2/image.h>

/*
 * Whether an image names this file as its backing file or as its data file, by a path or by "file:" and
 * one. Names of other protocols lead elsewhere, and names of the form "json:" are not read.
 *
 * st: of the file. path: of the image; relative names begin in its folder. True if memory is short,
 * as nobody can tell then.
 */
bool is_needed_file(const struct stat *st, const char *path, const struct qcow2_image *image);

#endif
