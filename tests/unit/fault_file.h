/* SPDX-License-Identifier: MIT */
/* An image in a file of its own, one read of which fails. For tests that include faults.h. */
#ifndef TESTS_UNIT_FAULT_FILE_H
#define TESTS_UNIT_FAULT_FILE_H

#include "faults.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/qcow2-faults-XXXXXX";
/* How many reads there were, and the number of the one that fails, from 1; 0: none does. */
static long reads, fail_read;

/* Makes the file. 0, or -1, as a setup of cmocka. */
static int make_file(const uint8_t *image, size_t size)
{
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, image, size) != (ssize_t)size)
		return -1;
	return close(fd);
}

static int group_teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* For faults_pread. */
static inline ssize_t count_read(int fd, void *buffer, size_t size, off_t offset)
{
	if (++reads == fail_read) {
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, buffer, size, offset);
}

#endif
