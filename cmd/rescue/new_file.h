/* SPDX-License-Identifier: MIT */
/* A file that is made, and removed again if something fails. */
#ifndef CMD_RESCUE_NEW_FILE_H
#define CMD_RESCUE_NEW_FILE_H

#include "common/command.h"

#include <sys/types.h>

struct new_file {
	const struct command *command;
	const char *path;
	int fd;
	int errnum; /* why it failed, or 0 */
};

/*
 * Makes a file that is not there yet. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been
 * said.
 */
int new_file_open(struct new_file *file, const struct command *command, const char *path,
		  mode_t mode);

/* Writes all of size bytes at an offset. False if that failed, now or before. */
bool new_file_write(struct new_file *file, uint64_t offset_bytes, const void *bytes, size_t size);

/* Sets its size. False as above. */
bool new_file_resize(struct new_file *file, uint64_t size_bytes);

/*
 * Brings all to the medium and closes; removes the file if anything failed, or if code is not
 * EXIT_FINE. Returns code, or EXIT_COULD_NOT when the error has been said.
 */
int new_file_close(struct new_file *file, int code);

#endif
