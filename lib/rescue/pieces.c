/* SPDX-License-Identifier: MIT */
/* See pieces.h. */
#include "rescue/pieces.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define WINDOW_BYTES ((size_t)64 << 10)

int q2_pieces_open(struct q2_pieces *pieces, const struct q2_scan *scan, size_t largest,
		   struct qcow2_error *err)
{
	*pieces = (struct q2_pieces){.scan = scan,
				     .size = largest > WINDOW_BYTES ? largest : WINDOW_BYTES};
	pieces->buffer = q2_alloc_buffer(pieces->size);
	return pieces->buffer ? 0 : q2_fail_memory(err);
}

void q2_pieces_close(struct q2_pieces *pieces)
{
	q2_free(pieces->buffer);
}

static int fill(struct q2_pieces *pieces, uint64_t offset_bytes, struct qcow2_error *err)
{
	uint64_t end = pieces->scan->file_size_bytes;
	size_t there = 0;

	pieces->held_bytes = 0;
	if (offset_bytes < end)
		there = end - offset_bytes < pieces->size ? (size_t)(end - offset_bytes)
							  : pieces->size;
	if (there > 0 &&
	    qcow2_source_read(pieces->scan->source, offset_bytes, pieces->buffer, there, err))
		return -1;
	memset(pieces->buffer + there, 0, pieces->size - there);
	pieces->start_bytes = offset_bytes;
	pieces->held_bytes = pieces->size;
	return 0;
}

int q2_pieces_read(struct q2_pieces *pieces, uint64_t offset_bytes, size_t size,
		   const uint8_t **bytes, struct qcow2_error *err)
{
	if ((offset_bytes < pieces->start_bytes ||
	     offset_bytes - pieces->start_bytes > pieces->held_bytes ||
	     size > pieces->held_bytes - (size_t)(offset_bytes - pieces->start_bytes)) &&
	    fill(pieces, offset_bytes, err))
		return -1;
	*bytes = pieces->buffer + (size_t)(offset_bytes - pieces->start_bytes);
	return 0;
}
