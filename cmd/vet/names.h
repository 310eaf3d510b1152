/* SPDX-License-Identifier: MIT */
/* Names of files from a list, which newlines or NULs separate. */
#ifndef CMD_VET_NAMES_H
#define CMD_VET_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include <qcow2/error.h>

/* The longest name with its end. */
#define NAMES_BYTES ((size_t)64 << 10)

struct names {
	int fd; /* -1: there is no list */
	bool close_fd;
	bool ended;
	char separator; /* if it is known */
	bool separator_known;
	size_t at, end; /* of what was read and not given out */
	char buffer[NAMES_BYTES + 1];
};

/* Opens a list; "-" is standard input. Returns 0, or -1 with *err filled. */
int names_open(struct names *names, const char *file, struct qcow2_error *err);
void names_close(struct names *names);

/* Gives a name that has been read, or NULL. It lives until names_read(). */
char *names_next(struct names *names);

/*
 * Waits for more of the list. Returns 1 if there is more, 0 at its end, or -1 with *err filled. Call
 * it when names_next() gives none.
 */
int names_read(struct names *names, struct qcow2_error *err);

#endif
