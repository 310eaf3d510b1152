/* SPDX-License-Identifier: MIT */
/* See stream.h. */
#include "vet/stream.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qcow2/number.h>

/* Whole buffers of a pipe, which has 64 KiB. */
#define READ_BYTES ((size_t)64 << 10)

/* The number of "/dev/fd/N", or -1: it has digits alone. */
static int number_of(const char *file)
{
	uint64_t number;

	for (size_t i = 0; file[i]; i++)
		if (file[i] < '0' || file[i] > '9')
			return -1;
	return qcow2_number_parse(file, INT_MAX, &number, NULL) == 0 ? (int)number : -1;
}

int vet_descriptor_of(const char *file)
{
	struct stat st;
	int fd = STDIN_FILENO;

	if (strcmp(file, "-") == 0)
		return STDIN_FILENO;
	if (strncmp(file, "/dev/fd/", 8) == 0)
		fd = number_of(file + 8);
	else if (strcmp(file, "/dev/stdin") != 0)
		return -1;
	if (fd < 0 || fstat(fd, &st) != 0)
		return -1;
	/* A file that is open can be opened once more, unless it is another's. */
	if ((S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && access(file, R_OK) == 0)
		return -1;
	return fd;
}

static int fail(struct vet_answer *answer, int errnum)
{
	answer->err = (struct qcow2_error){
		.code = QCOW2_ERROR_IO, .errnum = errnum, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(answer->err.text, sizeof(answer->err.text), "cannot read: %s", strerror(errnum));
	return -1;
}

/* Feeds all that there is. Returns 0, or -1 with the error. */
static int feed_all(struct vet_answer *answer, int fd, struct qcow2_vet_stream *stream)
{
	uint8_t *buffer = malloc(READ_BYTES);
	ssize_t got;
	int more = 0;

	if (!buffer)
		return fail(answer, ENOMEM);
	while (more == 0) {
		got = read(fd, buffer, READ_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			more = fail(answer, errno);
		if (got <= 0)
			break;
		more = qcow2_vet_stream_feed(stream, buffer, (size_t)got, &answer->err);
	}
	free(buffer);
	return more < 0 ? -1 : 0;
}

int vet_stream(struct vet_answer *answer, int fd, const struct qcow2_vet_options *options)
{
	struct qcow2_vet_stream *stream;
	int result;

	if (qcow2_vet_stream_open(options, &stream, &answer->err))
		return -1;
	result = feed_all(answer, fd, stream);
	if (result == 0)
		result = qcow2_vet_stream_end(stream, &answer->result, &answer->err);
	qcow2_vet_stream_close(stream);
	return result;
}
