/* SPDX-License-Identifier: MIT */
/* See in_memory.h. */
#include "common/in_memory.h"

#include <stdint.h>
#include <sys/stat.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

bool path_is_in_memory(const char *path)
{
#ifdef __linux__
	struct statfs fs;

	/* A devtmpfs reports the type of a tmpfs. */
	return statfs(path, &fs) == 0 && ((uint32_t)fs.f_type == (uint32_t)TMPFS_MAGIC ||
					  (uint32_t)fs.f_type == (uint32_t)RAMFS_MAGIC);
#else
	(void)path;
	return false;
#endif
}

bool file_is_in_memory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && path_is_in_memory(path);
}
