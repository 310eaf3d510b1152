/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: the file that DEVICE names looks like a block device to a program that has it
 * open, or asks for it by that name. Its size does not change, and a write past its end finds no space.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

int fstat64(int fd, struct stat64 *st);
int stat64(const char *path, struct stat64 *st);
int ftruncate64(int fd, off64_t size);
ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset);

static int (*real_fstat)(int, struct stat64 *);
static int (*real_stat)(const char *, struct stat64 *);

/* Whether a descriptor is the device; its size. */
static int is_device(int fd, off64_t *size)
{
	const char *path = getenv("DEVICE");
	struct stat64 st, wanted;

	if (!real_fstat)
		real_fstat = dlsym(RTLD_NEXT, "fstat64");
	if (!real_stat)
		real_stat = dlsym(RTLD_NEXT, "stat64");
	if (!path || real_stat(path, &wanted) < 0 || real_fstat(fd, &st) < 0)
		return 0;
	*size = st.st_size;
	return st.st_dev == wanted.st_dev && st.st_ino == wanted.st_ino;
}

static void pretend(struct stat64 *st)
{
	st->st_mode = (st->st_mode & ~(mode_t)S_IFMT) | S_IFBLK;
	st->st_size = 0;
}

int fstat64(int fd, struct stat64 *st)
{
	off64_t size;
	int device = is_device(fd, &size), result = real_fstat(fd, st);

	if (device && result == 0)
		pretend(st);
	return result;
}

int stat64(const char *path, struct stat64 *st)
{
	const char *device = getenv("DEVICE");
	int result;

	if (!real_stat)
		real_stat = dlsym(RTLD_NEXT, "stat64");
	result = real_stat(path, st);
	if (device && strcmp(path, device) == 0 && result == 0)
		pretend(st);
	return result;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
	off64_t size;
	void *argument;
	va_list arguments;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request != BLKGETSIZE64 || !is_device(fd, &size))
		return real(fd, request, argument);
	*(unsigned long long *)argument = (unsigned long long)size;
	return 0;
}

int ftruncate64(int fd, off64_t size)
{
	int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
	off64_t old;

	if (!is_device(fd, &old))
		return real(fd, size);
	errno = EINVAL;
	return -1;
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
	off64_t end;

	if (!is_device(fd, &end) || offset + (off64_t)size <= end)
		return real(fd, buffer, size, offset);
	errno = ENOSPC;
	return -1;
}
