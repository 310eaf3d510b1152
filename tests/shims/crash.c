/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: stops a program at its n-th change of a file. CRASH_AT counts writes, changes
 * of size, syncs and removals; CRASH_HOW is what happens there: "before" and "after" kill the
 * process, "half" kills it with half of a write done, "ENOSPC" and "EIO" are errors, "short" writes
 * half and goes on, "full" writes half and then says ENOSPC. The file CRASH_LOG gets a byte once it
 * was reached.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
static long steps;
static int full;

static int is_how(const char *how)
{
	const char *wanted = getenv("CRASH_HOW");

	return wanted && strcmp(wanted, how) == 0;
}

static void load(void)
{
	if (real_pwrite)
		return;
	real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
	real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
	real_unlink = dlsym(RTLD_NEXT, "unlink");
}

/* Whether this step is the one; it is noted then. */
static int is_due(void)
{
	const char *at = getenv("CRASH_AT"), *log = getenv("CRASH_LOG");
	int fd;

	load();
	if (!at || atol(at) != ++steps)
		return 0;
	fd = open(log ? log : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	(void)!write(fd, "!", 1);
	close(fd);
	if (is_how("before"))
		kill(getpid(), SIGKILL);
	return 1;
}

static int fails(int due)
{
	if (!due)
		return 0;
	errno = is_how("ENOSPC") ? ENOSPC : is_how("EIO") ? EIO : 0;
	return errno != 0;
}

static void finish(int due)
{
	if (due && is_how("after"))
		kill(getpid(), SIGKILL);
}

ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset)
{
	int due = is_due();
	ssize_t result;

	if (full) {
		errno = ENOSPC;
		return -1;
	}
	if (fails(due))
		return -1;
	if (due && is_how("half")) {
		(void)!real_pwrite(fd, buffer, size / 2, offset);
		kill(getpid(), SIGKILL);
	}
	if (due && (is_how("short") || is_how("full")) && size > 1) {
		full = is_how("full");
		return real_pwrite(fd, buffer, size / 2, offset);
	}
	result = real_pwrite(fd, buffer, size, offset);
	finish(due);
	return result;
}

int ftruncate64(int fd, off64_t size)
{
	int due = is_due(), result;

	if (fails(due))
		return -1;
	result = real_ftruncate(fd, size);
	finish(due);
	return result;
}

int fsync(int fd)
{
	int due = is_due(), result;

	if (fails(due))
		return -1;
	result = real_fsync(fd);
	finish(due);
	return result;
}

int unlink(const char *path)
{
	int due = is_due(), result;

	if (fails(due))
		return -1;
	result = real_unlink(path);
	finish(due);
	return result;
}
