/* SPDX-License-Identifier: MIT */
/*
 * What systems have under different names, or lack, as far as the command needs it; the library has
 * its own. docs/portability.md says what a lack costs.
 */
#ifndef CMD_COMMON_SYSTEM_H
#define CMD_COMMON_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#ifdef __APPLE__
/* No timers of POSIX: a limit of time is kept between reads alone. */
#define SYSTEM_HAS_TIMERS 0
typedef int system_timer;
#define st_mtim st_mtimespec
#else
#define SYSTEM_HAS_TIMERS 1
typedef timer_t system_timer;
#endif

/* Fills up to 256 bytes with what nobody can guess. Returns 0 or an errno value. */
int system_random(void *bytes, size_t size);

/* Overwrites a secret, also one that is never read again. */
void system_wipe(void *bytes, size_t size);

/* Brings what was written to the medium. Returns 0, or -1 and errno. */
int system_sync(int fd);

/* Gives the first bytes of a file their place on the medium. Returns 0 or an errno value. */
int system_allocate(int fd, uint64_t size_bytes);

/* Makes a hole that reads as zeros. False: it has to be written. */
bool system_punch(int fd, uint64_t offset_bytes, uint64_t length_bytes);

/*
 * Renames a file if nothing has the new name. Returns 0 or an errno value: EEXIST, or EINVAL or ENOSYS
 * where that cannot be done in one step.
 */
int system_rename_new(const char *from, const char *to);

#endif
