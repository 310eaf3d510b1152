/* SPDX-License-Identifier: MIT */
/* File systems in memory: what they hold is gone after a power cut. */
#ifndef CMD_COMMON_IN_MEMORY_H
#define CMD_COMMON_IN_MEMORY_H

#include <stdbool.h>

/* Whether a path is on a file system in memory. False if the system cannot tell. */
bool path_is_in_memory(const char *path);

/* Whether a regular file is. A device node in memory is none: its bytes are elsewhere. */
bool file_is_in_memory(const char *path);

#endif
