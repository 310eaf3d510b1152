/* SPDX-License-Identifier: MIT */
/* Where systems differ in what they do with files: see base/system.h. */
#ifndef Q2_SOURCE_SYSTEM_H
#define Q2_SOURCE_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* macOS has it with another name. */
#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

/* Brings what was written to the medium. Returns 0, or -1 and errno. */
int q2_sync(int fd);

/*
 * Whether a read of the byte at an offset would wait for the medium. False where nobody can say: Linux
 * can be asked to read only what needs no waiting, if its C library knows of it.
 */
bool q2_read_would_wait(int fd, uint64_t offset_bytes);

#endif
