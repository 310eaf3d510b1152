/* SPDX-License-Identifier: MIT */
/*
 * Where a file has data and where it has holes. The last answer is kept, as the system is asked once
 * for each region and not once for each extent.
 */
#ifndef CMD_MAP_HOLES_H
#define CMD_MAP_HOLES_H

#include <stdbool.h>

#include <qcow2/source.h>

struct map_holes {
	const struct qcow2_source *source;
	uint64_t start_bytes, end_bytes; /* [start, end) is known to be all hole, or all data */
	bool hole;
};

/* All zeros but for the source. */
void map_holes_ask(struct map_holes *holes, uint64_t offset_bytes);

/*
 * Finds out what is at an offset. Behind the end of the file is a hole without end. Afterwards
 * holes->hole says what it is, and holes->end_bytes, which is behind the offset, where that ends.
 */
static inline void map_holes_find(struct map_holes *holes, uint64_t offset_bytes)
{
	if (offset_bytes < holes->start_bytes || offset_bytes >= holes->end_bytes)
		map_holes_ask(holes, offset_bytes);
}

#endif
