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

/* Whole buffers of a pipe, which has 64 KiB. */
#define READ_BYTES ((size_t)64 << 10)

int vet_descriptor_of(const char *file)
{
	const char *number = strncmp(file, "/dev/fd/", 8) == 0 ? file + 8 : NULL;
	long fd = STDIN_FILENO;
	struct stat st;
	char *end = NULL;

	if (strcmp(file, "-") == 0)
		return STDIN_FILENO;
	if (number && (*number < '0' || *number > '9'))
		return -1;
	if (number)
		fd = strtol(number, &end, 10);
	else if (strcmp(file, "/dev/stdin") != 0)
		return -1;
	if ((end && *end) || fd > INT_MAX || fstat((int)fd, &st) != 0)
		return -1;
	/* A file that is open can be opened once more, unless it is another's. */
	if ((S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && access(file, R_OK) == 0)
		return -1;
	return (int)fd;
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
