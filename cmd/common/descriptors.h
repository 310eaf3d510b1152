/* SPDX-License-Identifier: MIT */
/* Descriptors: none that the command opens is taken for standard input, output or error. */
#ifndef CMD_COMMON_DESCRIPTORS_H
#define CMD_COMMON_DESCRIPTORS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Replaces standard input, output and error where they are closed, before anything is opened that
 * would get their numbers. Reading the one and writing the others still fails, so that input that
 * is missing and output that is lost are noticed. False, and it is said if it can be: nothing may
 * be opened.
 */
bool descriptors_replace_closed(void);

/* Whether that descriptor leads to the file at path: what is printed there would be written into
 * it. */
bool descriptors_lead_to(int fd, const char *path);

/*
 * The first word that names an image into which standard output or error leads, so that what is
 * printed would be written over it; NULL if there is none. Another file may have the name of a
 * word: it is an image if it begins like one.
 */
const char *descriptors_find_image(char *const *words);

/*
 * open(), but that interruptions are resumed, and that the descriptor is above those three and not
 * passed on. mode: of a file that it makes. -1 with errno set.
 */
int descriptors_open(const char *path, int flags, mode_t mode);

#endif
