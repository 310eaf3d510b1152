/* SPDX-License-Identifier: MIT */
/* See system.h. */
#include "source/system.h"

#include <fcntl.h>
#include <unistd.h>

int q2_sync(int fd)
{
#ifdef F_FULLFSYNC
	/* There, fsync() leaves it to the drive when it writes. Not all file systems know this. */
	if (fcntl(fd, F_FULLFSYNC) == 0)
		return 0;
#endif
	return fsync(fd);
}
