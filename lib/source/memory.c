/* SPDX-License-Identifier: MIT */
/*
 * A source over a buffer that the caller keeps.
 */
#include "source/source.h"

#include <string.h>

static int memory_read(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		       size_t size)
{
	/* The offset fits size_t, as it lies within a buffer. */
	memcpy(buffer, source->memory + (size_t)offset_bytes, size);
	return 0;
}

static const struct q2_source_backend memory_backend = {.read = memory_read};

int qcow2_source_from_memory(const void *data, size_t size, struct qcow2_source **out,
			     struct qcow2_error *err)
{
	struct qcow2_source *source = q2_source_new(&memory_backend, size, size, err);

	if (!source)
		return -1;
	source->memory = data;
	*out = source;
	return 0;
}
