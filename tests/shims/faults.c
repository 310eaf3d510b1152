/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: makes the n-th allocation, read or write to standard output of a program
 * fail. FAIL_ALLOC, FAIL_READ and FAIL_WRITE say which one, or "all"; FAIL_HOW says how; a byte goes to
 * the file descriptor that FAIL_REPORT says when that one was reached.
 *
 * As FAIL_HOW says, a read fails, or is "short", finds the "end", is "interrupted"; or the file becomes
 * shorter or longer before it, to FAIL_SIZE bytes ("resize"; FAIL_FILE is a descriptor of the file), or
 * gets another byte there ("rewrite").
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void *__libc_realloc(void *old, size_t size);

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset);

static long allocations, reads, writes;

/* Whether this is the call that has to fail. */
static int is_due(const char *name, long count)
{
	const char *wanted = getenv(name);

	return wanted && (strcmp(wanted, "all") == 0 || atol(wanted) == count);
}

static void reached(void)
{
	static ssize_t (*real)(int, const void *, size_t);
	const char *report = getenv("FAIL_REPORT");

	if (!real)
		real = dlsym(RTLD_NEXT, "write");
	(void)!real(report ? atoi(report) : -1, "!", 1);
}

static int no_memory(void)
{
	if (!is_due("FAIL_ALLOC", ++allocations))
		return 0;
	reached();
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return no_memory() ? NULL : __libc_malloc(size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return no_memory() ? NULL : __libc_memalign(alignment, size);
}

void *calloc(size_t count, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return no_memory() ? NULL : __libc_realloc(old, size);
}

/* -1: the call fails with errno; else how many bytes it may do. */
static ssize_t fail_how(size_t size, int error)
{
	const char *how = getenv("FAIL_HOW");

	reached();
	if (how && strcmp(how, "short") == 0)
		return size > 1 ? (ssize_t)(size / 2) : (ssize_t)size;
	if (how && strcmp(how, "end") == 0)
		return 0;
	if (how && strcmp(how, "resize") == 0)
		return ftruncate(atoi(getenv("FAIL_FILE")), atol(getenv("FAIL_SIZE"))) == 0
			       ? (ssize_t)size
			       : -1;
	if (how && strcmp(how, "rewrite") == 0)
		return pwrite(atoi(getenv("FAIL_FILE")), "!", 1, atol(getenv("FAIL_SIZE"))) == 1
			       ? (ssize_t)size
			       : -1;
	errno = how && strcmp(how, "interrupted") == 0 ? EINTR : error;
	return -1;
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
	static ssize_t (*real)(int, void *, size_t, off64_t);
	ssize_t most;

	if (!real)
		real = dlsym(RTLD_NEXT, "pread64");
	if (is_due("FAIL_READ", ++reads)) {
		most = fail_how(size, EIO);
		if (most <= 0)
			return most;
		size = (size_t)most;
	}
	return real(fd, buffer, size, offset);
}

ssize_t write(int fd, const void *buffer, size_t size)
{
	static ssize_t (*real)(int, const void *, size_t);
	ssize_t most;

	if (!real)
		real = dlsym(RTLD_NEXT, "write");
	if (fd == STDOUT_FILENO && is_due("FAIL_WRITE", ++writes)) {
		most = fail_how(size, ENOSPC);
		if (most < 0)
			return most;
		size = (size_t)most;
	}
	return real(fd, buffer, size);
}
