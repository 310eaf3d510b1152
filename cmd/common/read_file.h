/* SPDX-License-Identifier: MIT */
/* Reads a file that the command line names, or standard input, into memory. */
#ifndef CMD_COMMON_READ_FILE_H
#define CMD_COMMON_READ_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <qcow2/error.h>

/*
 * Reads all of `path`, or of standard input if it is "-", into *out of *size bytes, which the
 * caller frees. Errors: QCOW2_ERROR_LIMIT (over `most` bytes), QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY;
 * the text names the file.
 */
int read_whole_file(const char *path, size_t most, uint8_t **out, size_t *size,
		    struct qcow2_error *err);

#endif
