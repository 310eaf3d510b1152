/* SPDX-License-Identifier: MIT */
/*
 * Extents as JSON objects and as fixed records. A disk may have many millions of them, so that no
 * general printer is used: most of what is between two numbers is made once and then copied.
 */
#ifndef CMD_MAP_TEXT_H
#define CMD_MAP_TEXT_H

#include "map/extent.h"
#include "out/spool.h"

enum map_format { MAP_HUMAN, MAP_JSON, MAP_NDJSON, MAP_BINARY };

#define MAP_MIDDLES     256 /* a power of two */
#define MAP_MIDDLE_SIZE 96

/* From behind the length to before the offset, or to the end if there is none. */
struct map_middle {
	uint32_t depth;
	bool made;
	uint8_t size;
	char text[MAP_MIDDLE_SIZE];
};

struct map_text {
	enum map_format format;
	bool is_first; /* nothing was added */
	/* What stands before the next object's start: what ends the one before it as well. */
	char before[16];
	uint8_t before_size;
	/* The digits of a start but the last eight, which most neighbours share. */
	uint64_t high;
	char high_text[16];
	uint8_t high_size;
	/* The length that was written last, with its key. */
	uint64_t length_bytes;
	char length_text[64];
	uint8_t length_size;
	struct map_middle middles[MAP_MIDDLES]; /* by flags; all zeros: none is made */
};

/* Begins the text of a format, all zeros before; and says that the first object was added. */
void map_text_begin(struct map_text *text, enum map_format format);
void map_text_go_on(struct map_text *text);

/*
 * Adds an object, with text->before in place of what begins it, and without the brace that ends it.
 * file: of the offset, or NULL.
 */
void map_text_object(struct map_text *text, struct spool *out, const struct map_extent *extent,
		     const char *file);

/* Adds an extent in any format but that for people, with what separates it from others. */
void map_text_add(struct map_text *text, struct spool *out, const struct map_extent *extent,
		  const char *file);

/* Adds a record of MAP_RECORD_BYTES, as docs/map.md describes it. */
#define MAP_RECORD_BYTES 32
void map_record(struct spool *out, const struct map_extent *extent);

#endif
