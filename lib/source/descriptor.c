/* SPDX-License-Identifier: MIT */
/*
 * The one place where the library opens files. A program may run with its standard input, output or
 * error closed. The next file that it opens would get that number, and what the program prints
 * would be written into it. So no descriptor from here is 0, 1 or 2.
 */
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FIRST_OWN (STDERR_FILENO + 1)

int q2_descriptor_lift(int fd)
{
	int higher, errnum;

	if (fd < 0 || fd >= FIRST_OWN)
		return fd;
	higher = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OWN);
	errnum = errno;
	(void)close(fd);
	errno = errnum;
	return higher;
}

int q2_descriptor_open(const char *path, int flags)
{
	int fd;

	do {
		fd = open(path, flags | O_CLOEXEC, 0600);
	} while (fd < 0 && errno == EINTR);
	return q2_descriptor_lift(fd);
}
