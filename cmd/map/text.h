/* SPDX-License-Identifier: MIT */
/*
 * Extents as JSON objects and as fixed records. A disk may have many millions of them, so that no
 * general printer is used: most of what is between two numbers is made once and then copied.
 */
#ifndef CMD_MAP_TEXT_H
#define CMD_MAP_TEXT_H

#include "map/extent.h"
#include "out/spool.h"

#define MAP_MIDDLES     256 /* a power of two */
#define MAP_MIDDLE_SIZE 128

/* From behind the start to before the offset, or to the end if there is none. */
struct map_middle {
	uint64_t length_bytes;
	uint32_t depth;
	uint16_t flags;
	bool made, placed;
	uint8_t size;
	char text[MAP_MIDDLE_SIZE];
};

struct map_text {
	struct map_middle middles[MAP_MIDDLES]; /* of some lengths; all zeros: none is made */
};

/* Adds an object without what separates it from others. file: of the offset, or NULL. */
void map_text_object(struct map_text *text, struct spool *out, const struct map_extent *extent,
		     const char *file);

/* Adds a record of MAP_RECORD_BYTES, as docs/map.md describes it. */
#define MAP_RECORD_BYTES 32
void map_record(struct spool *out, const struct map_extent *extent);

#endif
