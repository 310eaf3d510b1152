/* SPDX-License-Identifier: MIT */
/* See ahead.h. */
#include "source/ahead.h"

#include "source/source.h"

void q2_source_will_need(const struct qcow2_source *source, uint64_t offset_bytes,
			 uint64_t size_bytes)
{
	if (offset_bytes < source->size_bytes && source->backend->will_need)
		source->backend->will_need(source, offset_bytes, size_bytes);
}

bool q2_source_is_cold(const struct qcow2_source *source, uint64_t offset_bytes)
{
	return offset_bytes < source->size_bytes && source->backend->is_cold &&
	       source->backend->is_cold(source, offset_bytes);
}
