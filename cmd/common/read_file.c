/* SPDX-License-Identifier: MIT */
/* See read_file.h. */
#include "common/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "common/system.h"

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *format, ...)
{
	va_list arguments;

	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	va_start(arguments, format);
	vsnprintf(err->text, sizeof(err->text), format, arguments);
	va_end(arguments);
	return -1;
}

/* Waits for whoever writes to a pipe. */
static void wait_for_bytes(int fd)
{
	struct pollfd wanted = {.fd = fd, .events = POLLIN};

	(void)poll(&wanted, 1, -1);
}

/* Reads up to most bytes; more is an error. *size: 0, and then what was read, also of a failure. */
static int read_all(int fd, const char *path, uint8_t *buffer, size_t most, size_t *size,
		    struct qcow2_error *err)
{
	for (;;) {
		ssize_t got = read(fd, buffer + *size, most + 1 - *size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN) {
			wait_for_bytes(fd);
			continue;
		}
		if (got < 0)
			return fail(err, QCOW2_ERROR_IO, "%s: %s", path, strerror(errno));
		if (got == 0)
			return 0;
		*size += (size_t)got;
		if (*size > most)
			return fail(err, QCOW2_ERROR_LIMIT, "%s: over %zu bytes", path, most);
	}
}

/* Nothing came from a pipe, which nobody has open to write. */
static bool is_idle_pipe(int fd, size_t size)
{
	struct stat st;

	return size == 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Opening a pipe does not wait for somebody who writes, who may never come. */
int read_whole_file(const char *path, size_t most, uint8_t **out, size_t *size,
		    struct qcow2_error *err)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO
			  : descriptors_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	int failed;

	*size = 0;
	if (fd < 0)
		return fail(err, QCOW2_ERROR_IO, "%s: %s", path, strerror(errno));
	*out = malloc(most + 1);
	failed = *out ? read_all(fd, path, *out, most, size, err)
		      : fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	if (!failed && !standard && is_idle_pipe(fd, *size))
		failed = fail(err, QCOW2_ERROR_IO, "%s: nothing comes out of this pipe", path);
	if (!standard)
		(void)close(fd);
	if (failed) {
		/* It may be a secret. */
		if (*out)
			system_wipe(*out, *size);
		free(*out);
		*out = NULL;
	}
	return failed;
}
