/* SPDX-License-Identifier: MIT */
/* See holes.h. */
#include "map/holes.h"

void map_holes_ask(struct map_holes *holes, uint64_t offset_bytes)
{
	const uint64_t size = qcow2_source_size_bytes(holes->source);
	uint64_t end = qcow2_source_hole_end(holes->source, offset_bytes);

	holes->start_bytes = offset_bytes;
	holes->hole = end > offset_bytes || offset_bytes >= size;
	if (!holes->hole)
		end = qcow2_source_data_end(holes->source, offset_bytes);
	/* Someone may punch a hole between the questions; an answer has to cover the offset. */
	if (end <= offset_bytes)
		end = offset_bytes + 1;
	holes->end_bytes = holes->hole && end >= size ? UINT64_MAX : end;
}
