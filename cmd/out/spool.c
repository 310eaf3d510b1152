/* SPDX-License-Identifier: MIT */
/* See spool.h. */
#include "out/spool.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define WIDTH          79

void spool_init(struct spool *spool, int fd)
{
	*spool = (struct spool){.fd = fd};
}

static void write_bytes(struct spool *spool, const char *data, size_t size)
{
	size_t done = 0;

	while (done < size && spool->errnum == 0) {
		ssize_t n = write(spool->fd, data + done, size - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			spool->errnum = errno;
	}
	spool->written += done;
}

static void write_all(struct spool *spool)
{
	if (spool->settle)
		spool->settle(spool->settle_opaque);
	write_bytes(spool, spool->kept, spool->size);
	spool->size = 0;
}

/* Makes the buffer larger; false, and what was there stays, if there is no memory. */
static bool grow(struct spool *spool, size_t capacity)
{
	char *kept = realloc(spool->kept, capacity);

	if (!kept) {
		spool->errnum = ENOMEM;
		return false;
	}
	spool->kept = kept;
	spool->capacity = capacity;
	return true;
}

char *spool_make_room(struct spool *spool, size_t size)
{
	size_t capacity = spool->capacity ? spool->capacity : SPOOL_PIECE;

	assert(size <= SPOOL_PIECE);
	if (spool->errnum)
		return NULL;
	if (spool->size + size > SPOOL_KEPT || spool->streaming) {
		write_all(spool);
		/* the rest of the buffer is not used any more */
		spool->streaming = true;
		spool->capacity = SPOOL_PIECE;
		return spool->errnum ? NULL : spool->kept;
	}
	while (capacity < spool->size + size)
		capacity *= 2;
	if (capacity > spool->capacity && !grow(spool, capacity))
		return NULL;
	return spool->kept + spool->size;
}

void spool_write_pieces(struct spool *spool, const char *data, size_t size)
{
	/* Once it streams, there is nothing to be gained by a copy. */
	if (spool->streaming) {
		write_all(spool);
		write_bytes(spool, data, size);
		return;
	}
	while (size > 0 && spool->errnum == 0) {
		size_t piece = size < SPOOL_PIECE ? size : SPOOL_PIECE;

		spool_write(spool, data, piece);
		data += piece;
		size -= piece;
	}
}

void spool_add(struct spool *spool, const struct spool *kept)
{
	if (kept->errnum)
		spool->errnum = kept->errnum;
	else
		spool_write(spool, kept->kept, kept->size);
}

void spool_write_now(struct spool *spool, struct spool *kept)
{
	write_bytes(spool, kept->kept, kept->size);
	kept->size = 0;
}

void spool_swap(struct spool *spool, struct spool *kept)
{
	char *text = spool->kept;
	size_t size = spool->size, capacity = spool->capacity;

	spool->kept = kept->kept;
	spool->size = kept->size;
	spool->capacity = kept->capacity;
	kept->kept = text;
	kept->size = size;
	kept->capacity = capacity;
}

void spool_text(struct spool *spool, const char *text)
{
	spool_write(spool, text, strlen(text));
}

void spool_line(struct spool *spool, const char *text)
{
	spool_write(spool, text, strlen(text));
	spool_write(spool, "\n", 1);
}

void spool_print(struct spool *spool, const char *format, ...)
{
	char line[LINE_MAX_BYTES], *longer = NULL;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (size > 0 && (size_t)size >= sizeof(line)) {
		va_start(arguments, format);
		if (vasprintf(&longer, format, arguments) < 0) {
			longer = NULL;
			spool->errnum = ENOMEM;
		}
		va_end(arguments);
	}
	if (size > 0 && spool->errnum == 0)
		spool_write(spool, longer ? longer : line, (size_t)size);
	free(longer);
}

void spool_wrapped(struct spool *spool, unsigned indent, const char *text)
{
	while (*text) {
		size_t length = strlen(text), most = WIDTH - indent;

		if (length > most) {
			length = most;
			while (length > 0 && text[length] != ' ')
				length--;
			/* A word that is longer than a line stands in one of its own. */
			if (length == 0)
				length = strcspn(text, " ");
		}
		spool_fill(spool, ' ', indent);
		spool_write(spool, text, length);
		spool_text(spool, "\n");
		text += length + strspn(text + length, " ");
	}
}

bool spool_finish(struct spool *spool)
{
	if (spool->errnum == 0)
		write_all(spool);
	return spool->errnum == 0;
}

void spool_release(struct spool *spool)
{
	free(spool->kept);
	*spool = (struct spool){.fd = -1};
}
