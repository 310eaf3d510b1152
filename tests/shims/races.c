/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: what happens around an open file. At the first call for a lock of the open
 * file WAIT_IN names a folder, in which "waiting" is made, and "go" waited for. LOCK_ERRNO fails
 * such calls, all or those that LOCK_CALLS names, "set" or "get". OPEN_ERRNO fails to open the file
 * AS_IF for writing, FILE_FLAGS are its flags. IS_DEVICE makes it a block device, of its own size,
 * which is read-only if that is "read-only".
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void wait_for_go(void)
{
	static int waited;
	const char *folder = getenv("WAIT_IN");
	char path[4096];
	FILE *made;

	if (!folder || waited++)
		return;
	snprintf(path, sizeof(path), "%s/waiting", folder);
	made = fopen(path, "w");
	if (made)
		fclose(made);
	snprintf(path, sizeof(path), "%s/go", folder);
	for (int i = 0; i < 3000 && access(path, F_OK) != 0; i++)
		usleep(10000);
}

static int lock_fails(int command)
{
	const char *number = getenv("LOCK_ERRNO"), *calls = getenv("LOCK_CALLS");

	if (!number || (command != F_OFD_SETLK && command != F_OFD_GETLK))
		return 0;
	if (calls && strcmp(calls, command == F_OFD_SETLK ? "set" : "get") != 0)
		return 0;
	errno = atoi(number);
	return 1;
}

int fcntl64(int fd, int command, ...)
{
	static int (*real)(int, int, ...);
	va_list arguments;
	void *pointer;

	va_start(arguments, command);
	pointer = va_arg(arguments, void *);
	va_end(arguments);
	if (!real)
		real = dlsym(RTLD_NEXT, "fcntl64");
	if (command == F_OFD_SETLK || command == F_OFD_GETLK)
		wait_for_go();
	return lock_fails(command) ? -1 : real(fd, command, pointer);
}

int fcntl(int fd, int command, ...)
{
	va_list arguments;
	void *pointer;

	va_start(arguments, command);
	pointer = va_arg(arguments, void *);
	va_end(arguments);
	return fcntl64(fd, command, pointer);
}

/* Whether a file is the one that is made something else. */
static int is_meant(const struct stat *found)
{
	const char *meant = getenv("AS_IF");
	struct stat st;

	return meant && fstatat(AT_FDCWD, meant, &st, 0) == 0 && st.st_ino == found->st_ino &&
	       st.st_dev == found->st_dev;
}

int open64(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	const char *number = getenv("OPEN_ERRNO");
	va_list arguments;
	struct stat st;
	mode_t mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (!real)
		real = dlsym(RTLD_NEXT, "open64");
	if (number && (flags & O_ACCMODE) == O_RDWR && fstatat(AT_FDCWD, path, &st, 0) == 0 &&
	    is_meant(&st)) {
		errno = atoi(number);
		return -1;
	}
	return real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return open64(path, flags, mode);
}

int fstat64(int fd, struct stat64 *found)
{
	int result = fstatat(fd, "", (struct stat *)found, AT_EMPTY_PATH);

	if (result == 0 && getenv("IS_DEVICE") && is_meant((struct stat *)found))
		found->st_mode = S_IFBLK | (found->st_mode & 07777);
	return result;
}

int fstat(int fd, struct stat *found)
{
	return fstat64(fd, (struct stat64 *)found);
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, ...);
	const char *flags = getenv("FILE_FLAGS"), *device = getenv("IS_DEVICE");
	va_list arguments;
	struct stat st;
	void *pointer;

	va_start(arguments, request);
	pointer = va_arg(arguments, void *);
	va_end(arguments);
	if (!real)
		real = dlsym(RTLD_NEXT, "ioctl");
	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0 || !is_meant(&st))
		return real(fd, request, pointer);
	if (flags && request == FS_IOC_GETFLAGS)
		*(int *)pointer = atoi(flags);
	else if (device && request == BLKGETSIZE64)
		*(unsigned long long *)pointer = (unsigned long long)st.st_size;
	else if (device && request == BLKROGET)
		*(int *)pointer = strcmp(device, "read-only") == 0;
	else
		return real(fd, request, pointer);
	return 0;
}
