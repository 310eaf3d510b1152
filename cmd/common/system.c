/* SPDX-License-Identifier: MIT */
/* See system.h. */
#include "common/system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

int system_random(void *bytes, size_t size)
{
#ifdef GRND_NONBLOCK
	return getrandom(bytes, size, 0) == (ssize_t)size ? 0 : errno;
#else
	return getentropy(bytes, size) ? errno : 0;
#endif
}

void system_wipe(void *bytes, size_t size)
{
#ifdef __APPLE__
	volatile unsigned char *each = bytes;

	while (size-- > 0)
		*each++ = 0;
#else
	explicit_bzero(bytes, size);
#endif
}

int system_sync(int fd)
{
#ifdef F_FULLFSYNC
	/* There, fsync() leaves it to the drive when it writes. Not all file systems know this. */
	if (fcntl(fd, F_FULLFSYNC) == 0)
		return 0;
#endif
	return fsync(fd);
}

int system_allocate(int fd, uint64_t size_bytes)
{
#if defined(FALLOC_FL_KEEP_SIZE)
	return fallocate(fd, 0, 0, (off_t)size_bytes) ? errno : 0;
#elif defined(__APPLE__)
	(void)fd, (void)size_bytes;
	return ENOTSUP;
#else
	return posix_fallocate(fd, 0, (off_t)size_bytes);
#endif
}

bool system_punch(int fd, uint64_t offset_bytes, uint64_t length_bytes)
{
#ifdef FALLOC_FL_PUNCH_HOLE
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset_bytes,
			 (off_t)length_bytes) == 0;
#else
	(void)fd, (void)offset_bytes, (void)length_bytes;
	return false;
#endif
}

int system_rename_new(const char *from, const char *to)
{
#if defined(RENAME_NOREPLACE)
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) ? errno : 0;
#elif defined(RENAME_EXCL)
	if (renamex_np(from, to, RENAME_EXCL) == 0)
		return 0;
	return errno == ENOTSUP ? EINVAL : errno;
#else
	(void)from, (void)to;
	return ENOSYS;
#endif
}
