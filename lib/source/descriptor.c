/* SPDX-License-Identifier: MIT */
/*
 * The one place where the library opens files. A program may run with its standard input, output or
 * error closed; a file that got such a number would be written to by whatever the program prints.
 */
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FIRST_OWN (STDERR_FILENO + 1)

int qcow2_descriptor_open(const char *path, int flags)
{
	int low, fd, errnum;

	do {
		low = open(path, flags | O_CLOEXEC, 0600);
	} while (low < 0 && errno == EINTR);
	if (low < 0 || low >= FIRST_OWN)
		return low;
	fd = fcntl(low, F_DUPFD_CLOEXEC, FIRST_OWN);
	errnum = errno;
	(void)close(low);
	errno = errnum;
	return fd;
}
