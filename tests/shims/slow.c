/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: an image that is slow to read. Each read from the SLOW_FROM-th on takes SLOW_MS
 * milliseconds. With CPU=1 it does not wait, but works for that time.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
	static ssize_t (*real)(int, void *, size_t, off64_t);
	static long reads;
	const char *from = getenv("SLOW_FROM"), *ms = getenv("SLOW_MS");
	long end;

	if (!real)
		real = dlsym(RTLD_NEXT, "pread64");
	if (++reads >= (from ? atol(from) : 1) && ms) {
		end = now_ms() + atol(ms);
		while (now_ms() < end)
			if (!getenv("CPU"))
				usleep(10000);
	}
	return real(fd, buffer, size, offset);
}
