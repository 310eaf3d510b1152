/* SPDX-License-Identifier: MIT */
/* Where systems differ in what they do with files: see base/system.h. */
#ifndef Q2_SOURCE_SYSTEM_H
#define Q2_SOURCE_SYSTEM_H

#include <sys/stat.h>

/* macOS has it with another name. */
#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

/* Brings what was written to the medium. Returns 0, or -1 and errno. */
int q2_sync(int fd);

#endif
