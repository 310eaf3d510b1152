/* SPDX-License-Identifier: MIT */
/* See new_file.h. */
#include "rescue/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/limits.h"
#include "common/report.h"
#include "common/system.h"

static int fail(const struct new_file *file, const char *what, int errnum)
{
	char text[256];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(errnum));
	return report_text(file->command, file->path, text);
}

int new_file_open(struct new_file *file, const struct command *command, const char *path,
		  mode_t mode)
{
	*file = (struct new_file){.command = command, .path = path};
	file->fd = descriptors_open(path, O_RDWR | O_CREAT | O_EXCL, mode);
	if (file->fd < 0)
		return fail(file, "cannot make it", errno);
	limits_making(command, path);
	return EXIT_FINE;
}

bool new_file_write(struct new_file *file, uint64_t offset_bytes, const void *bytes, size_t size)
{
	const uint8_t *next = bytes;

	if (file->errnum == 0 && lseek(file->fd, (off_t)offset_bytes, SEEK_SET) < 0)
		file->errnum = errno;
	while (size > 0 && file->errnum == 0) {
		ssize_t done = write(file->fd, next, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			file->errnum = errno;
			break;
		}
		next += done;
		size -= (size_t)done;
	}
	return file->errnum == 0;
}

bool new_file_resize(struct new_file *file, uint64_t size_bytes)
{
	if (file->errnum == 0 && ftruncate(file->fd, (off_t)size_bytes))
		file->errnum = errno;
	return file->errnum == 0;
}

int new_file_close(struct new_file *file, int code)
{
	if (code == EXIT_FINE && file->errnum == 0 && system_sync(file->fd) && errno != EINVAL)
		file->errnum = errno;
	if (close(file->fd) && file->errnum == 0)
		file->errnum = errno;
	limits_making(file->command, NULL);
	if (code == EXIT_FINE && file->errnum == 0)
		return EXIT_FINE;
	unlink(file->path);
	return code == EXIT_FINE ? fail(file, "cannot write it", file->errnum) : code;
}
