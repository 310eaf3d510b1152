/* SPDX-License-Identifier: MIT */
/* Reads past the short end of a file, and slides windows over tables. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "image/internal.h"

uint64_t q2_image_readable_end(const struct qcow2_image *image)
{
	uint64_t end;

	if (q2_round_up_u64(image->geometry.file_size_bytes, image->geometry.cluster_size_bytes,
			    &end))
		return image->geometry.file_size_bytes;
	return end;
}

int q2_image_read_padded(const struct qcow2_image *image, uint64_t offset, void *buffer,
			 size_t size, struct qcow2_error *err)
{
	uint64_t file_size = qcow2_source_size_bytes(image->source);
	uint64_t left = offset < file_size ? file_size - offset : 0;
	size_t there = left < size ? (size_t)left : size;

	memset((uint8_t *)buffer + there, 0, size - there);
	if (there == 0)
		return 0;
	return qcow2_source_read(image->source, offset, buffer, there, err);
}

bool q2_window_init(struct q2_window *window, const struct qcow2_image *image, size_t capacity)
{
	*window = (struct q2_window){.image = image, .capacity = capacity};
	window->buffer = q2_alloc_buffer(window->capacity);
	return window->buffer != NULL;
}

void q2_window_release(struct q2_window *window)
{
	q2_free(window->buffer);
}

void q2_window_begin(struct q2_window *window, uint64_t offset, uint64_t end)
{
	window->start = offset;
	window->filled = 0;
	window->end = end;
}

/*
 * Moves the window to start at offset: keeps the bytes that it has from there on, reads the rest.
 */
static int slide(struct q2_window *window, uint64_t offset, struct qcow2_error *err)
{
	uint64_t want = window->end - offset;
	size_t kept = 0;

	if (want > window->capacity)
		want = window->capacity;
	if (window->piece > 0 && want > window->piece - (offset & (window->piece - 1)))
		want = window->piece - (offset & (window->piece - 1));
	if (offset >= window->start && offset - window->start < window->filled) {
		kept = window->filled - (size_t)(offset - window->start);
		memmove(window->buffer, window->buffer + (offset - window->start), kept);
	}
	if (want < kept)
		want = kept;
	window->start = offset;
	window->filled = kept;
	if (q2_image_read_padded(window->image, offset + kept, window->buffer + kept,
				 (size_t)want - kept, err))
		return -1;
	window->filled = (size_t)want;
	return 0;
}

int q2_window_view(struct q2_window *window, uint64_t offset, size_t size, struct qcow2_bytes *view,
		   struct qcow2_error *err)
{
	assert(size <= window->capacity);
	*view = (struct qcow2_bytes){NULL, 0};
	if (offset >= window->end || size == 0)
		return 0;
	if (size > window->end - offset)
		size = (size_t)(window->end - offset);
	if ((offset < window->start || offset - window->start > window->filled ||
	     window->filled - (offset - window->start) < size) &&
	    slide(window, offset, err))
		return -1;
	*view = (struct qcow2_bytes){window->buffer + (offset - window->start), size};
	return 0;
}
