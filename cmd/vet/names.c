/* SPDX-License-Identifier: MIT */
/* See names.h. */
#include "vet/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/descriptors.h"

static int fail(struct qcow2_error *err, int errnum, const char *text)
{
	*err = (struct qcow2_error){
		.code = QCOW2_ERROR_IO, .errnum = errnum, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

int names_open(struct names *names, const char *file, struct qcow2_error *err)
{
	names->at = names->end = 0;
	names->ended = names->separator_known = false;
	names->close_fd = strcmp(file, "-") != 0;
	names->fd = names->close_fd ? descriptors_open(file, O_RDONLY, 0) : STDIN_FILENO;
	return names->fd < 0 ? fail(err, errno, strerror(errno)) : 0;
}

void names_close(struct names *names)
{
	if (names->close_fd && names->fd >= 0)
		(void)close(names->fd);
}

/* A NUL anywhere in what comes first says that NULs separate names, which may have newlines. */
static void find_separator(struct names *names)
{
	if (memchr(names->buffer, 0, names->end))
		names->separator = '\0';
	else if (memchr(names->buffer, '\n', names->end))
		names->separator = '\n';
	else
		return;
	names->separator_known = true;
}

char *names_next(struct names *names)
{
	char *name, *end;

	while (names->at < names->end && (names->separator_known || names->ended)) {
		name = names->buffer + names->at;
		end = names->separator_known
			      ? memchr(name, names->separator, names->end - names->at)
			      : NULL;
		if (!end && !names->ended)
			return NULL;
		if (!end) /* the last one needs no end */
			end = names->buffer + names->end;
		*end = '\0';
		names->at = (size_t)(end - names->buffer) + 1;
		if (*name)
			return name;
	}
	return NULL;
}

int names_read(struct names *names, struct qcow2_error *err)
{
	ssize_t got;

	if (names->ended)
		return 0;
	if (names->at > names->end)
		names->at = names->end;
	memmove(names->buffer, names->buffer + names->at, names->end - names->at);
	names->end -= names->at;
	names->at = 0;
	if (names->end == NAMES_BYTES)
		return fail(err, ENAMETOOLONG, "a name is over 65536 bytes long");
	do {
		got = read(names->fd, names->buffer + names->end, NAMES_BYTES - names->end);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return fail(err, errno, strerror(errno));
	names->end += (size_t)got;
	names->ended = got == 0;
	if (!names->separator_known)
		find_separator(names);
	return 1;
}
