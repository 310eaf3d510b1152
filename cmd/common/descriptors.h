/* SPDX-License-Identifier: MIT */
/* Keeps files that the command opens from becoming standard input, output or error. */
#ifndef CMD_COMMON_DESCRIPTORS_H
#define CMD_COMMON_DESCRIPTORS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Replaces standard input, output and error if they are closed, before another file can get their
 * numbers. Reading the first and writing the others still fails, so that missing input and lost
 * output are noticed. Returns false, with a message if possible, if one cannot be replaced: then
 * nothing may be opened.
 */
bool descriptors_replace_closed(void);

/* Whether a descriptor leads to the file at `path`, so that output would be written into it. */
bool descriptors_lead_to(int fd, const char *path);

/*
 * Returns the first word that names an image into which standard output or error leads, so that
 * output would destroy it; NULL if there is none. A word may be the name of another file: only a
 * file that begins like an image counts.
 */
const char *descriptors_find_image(char *const *words);

/* Leads a descriptor to /dev/null, so that what is written to it is gone. */
void descriptors_silence(int fd);

/*
 * As open(), with three differences: it resumes after interruptions, its descriptor is above
 * standard error, and programs that are started do not inherit it. `mode` is that of a new file.
 * Returns -1 with errno set.
 */
int descriptors_open(const char *path, int flags, mode_t mode);

#endif
