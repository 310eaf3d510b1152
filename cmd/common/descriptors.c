/* SPDX-License-Identifier: MIT */
/* See descriptors.h. */
#include "common/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool descriptors_replace_closed(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		/*
		 * open() takes the lowest free number, which is this one. Standard input is opened
		 * for writing and the others for reading, so that their use still fails.
		 */
		if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) == fd)
			continue;
		fprintf(stderr,
			"qcow2: standard input, output or error is closed, and cannot be replaced: "
			"/dev/null: %s\n",
			strerror(errno));
		return false;
	}
	return true;
}

bool descriptors_lead_to(int fd, const char *path)
{
	struct stat there, meant;

	return fstat(fd, &there) == 0 && stat(path, &meant) == 0 && there.st_dev == meant.st_dev &&
	       there.st_ino == meant.st_ino && (S_ISREG(meant.st_mode) || S_ISBLK(meant.st_mode));
}

static bool begins_as_image(const char *path)
{
	char magic[4];
	int fd = descriptors_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	bool is = fd >= 0 && read(fd, magic, sizeof(magic)) == (ssize_t)sizeof(magic) &&
		  memcmp(magic, "QFI\xfb", sizeof(magic)) == 0;

	if (fd >= 0)
		(void)close(fd);
	return is;
}

const char *descriptors_find_image(char *const *words)
{
	for (; *words; words++)
		if ((descriptors_lead_to(STDOUT_FILENO, *words) ||
		     descriptors_lead_to(STDERR_FILENO, *words)) &&
		    begins_as_image(*words))
			return *words;
	return NULL;
}

void descriptors_silence(int fd)
{
	int null = descriptors_open("/dev/null", O_WRONLY, 0);

	if (null < 0)
		return;
	(void)dup2(null, fd);
	(void)close(null);
}

int descriptors_open(const char *path, int flags, mode_t mode)
{
	int low, fd, errnum;

	do {
		low = open(path, flags | O_CLOEXEC, mode);
	} while (low < 0 && errno == EINTR);
	if (low < 0 || low > STDERR_FILENO)
		return low;
	fd = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	errnum = errno;
	(void)close(low);
	errno = errnum;
	return fd;
}
