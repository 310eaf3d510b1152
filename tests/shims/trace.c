/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: appends every write, change of size, sync and removal to the file TRACE, so
 * that each state in which a crash may leave the files can be built from it. A record is a letter,
 * three numbers of 8 bytes in the order of the machine (offset or size, length of the path, length
 * of the data), the path and the data.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset);
int ftruncate64(int fd, off64_t size);

static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_unlink)(const char *);

static void load(void)
{
	real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
	real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
	real_unlink = dlsym(RTLD_NEXT, "unlink");
}

static void note(char letter, const char *path, uint64_t number, const void *data, size_t size)
{
	const char *trace = getenv("TRACE");
	uint64_t numbers[3] = {number, strlen(path), size};
	int fd = open(trace ? trace : "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0600);

	(void)!write(fd, &letter, 1);
	(void)!write(fd, numbers, sizeof(numbers));
	(void)!write(fd, path, strlen(path));
	(void)!write(fd, data, size);
	close(fd);
}

static void note_of(char letter, int fd, uint64_t number, const void *data, size_t size)
{
	char name[64], path[4096];
	ssize_t length;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	length = readlink(name, path, sizeof(path) - 1);
	path[length < 0 ? 0 : length] = '\0';
	note(letter, path, number, data, size);
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset)
{
	load();
	note_of('w', fd, (uint64_t)offset, buffer, size);
	return real_pwrite(fd, buffer, size, offset);
}

int ftruncate64(int fd, off64_t size)
{
	load();
	note_of('t', fd, (uint64_t)size, NULL, 0);
	return real_ftruncate(fd, size);
}

int fsync(int fd)
{
	load();
	note_of('s', fd, 0, NULL, 0);
	return real_fsync(fd);
}

int unlink(const char *path)
{
	load();
	note('u', path, 0, NULL, 0);
	return real_unlink(path);
}
