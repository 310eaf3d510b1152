/* SPDX-License-Identifier: MIT */
/*
 * A source over a file descriptor that the caller opened, maybe with rights that this process does
 * not have: it is read as it is, never opened again by its name. See streams.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "streams.h"

/* The first descriptor that is nobody's standard output. */
#define FIRST_FREE 3

static int descriptor_of(void *opaque)
{
	return (int)(intptr_t)opaque;
}

static int read_all(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	char *to = buffer;

	while (size > 0) {
		ssize_t done = pread(descriptor_of(opaque), to, size, (off_t)offset_bytes);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? errno : EIO; /* the file became shorter */
		to += done;
		size -= (size_t)done;
		offset_bytes += (uint64_t)done;
	}
	return 0;
}

static uint64_t hole_end(void *opaque, uint64_t offset_bytes)
{
#ifdef SEEK_DATA
	int fd = descriptor_of(opaque);
	off_t data = lseek(fd, (off_t)offset_bytes, SEEK_DATA);
	struct stat status;

	if (data >= 0)
		return (uint64_t)data;
	if (errno == ENXIO && fstat(fd, &status) == 0 && (uint64_t)status.st_size > offset_bytes)
		return (uint64_t)status.st_size;
#endif
	return offset_bytes;
}

static void close_descriptor(void *opaque)
{
	close(descriptor_of(opaque));
}

static int fail(struct qcow2_error *err, enum qcow2_error_code code, int errnum, const char *text)
{
	*err = (struct qcow2_error){
		.code = code, .errnum = errnum, .offset_bytes = QCOW2_NO_OFFSET};
	if (errnum == 0)
		snprintf(err->text, sizeof(err->text), "%s", text);
	else
		snprintf(err->text, sizeof(err->text), "%s: %s", text, strerror(errnum));
	return -1;
}

/* The size of what is open, or -1 with *err filled. */
static off_t size_of(int fd, struct qcow2_error *err)
{
	struct stat status;
	off_t size;

	if (fstat(fd, &status) != 0)
		return fail(err, QCOW2_ERROR_IO, errno, "the descriptor cannot be used");
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return fail(err, QCOW2_ERROR_NOT_QCOW2, 0,
			    "the descriptor is of no regular file and no block device");
	size = S_ISREG(status.st_mode) ? status.st_size : lseek(fd, 0, SEEK_END);
	if (size < 0)
		return fail(err, QCOW2_ERROR_IO, errno, "the size cannot be learned");
	return size;
}

int binding_source_from_fd(int fd, struct qcow2_source **out, struct qcow2_error *err)
{
	const struct qcow2_source_ops ops = {.size = sizeof(ops),
					     .read = read_all,
					     .close = close_descriptor,
					     .hole_end = hole_end};
	off_t size = size_of(fd, err);
	int own;

	if (size < 0)
		return -1;
	own = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
	if (own < 0)
		return fail(err, QCOW2_ERROR_IO, errno, "the descriptor cannot be duplicated");
	if (qcow2_source_from_ops(&ops, (void *)(intptr_t)own, (uint64_t)size, out, err) != 0) {
		close(own);
		return -1;
	}
	return 0;
}
