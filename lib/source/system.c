/* SPDX-License-Identifier: MIT */
/* See system.h. */
#include "source/system.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
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

bool q2_read_would_wait(int fd, uint64_t offset_bytes)
{
/* Of the C library: the headers of the kernel have it also where it lacks the call. */
#ifdef RWF_NOWAIT
	uint8_t byte;
	const struct iovec one = {&byte, 1};

	return preadv2(fd, &one, 1, (off_t)offset_bytes, RWF_NOWAIT) < 0 && errno == EAGAIN;
#else
	(void)fd, (void)offset_bytes;
	return false;
#endif
}
