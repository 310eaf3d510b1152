/* SPDX-License-Identifier: MIT */
/* See text.h. The order of the members, and the blanks, are those of qemu-img map. */
#include "map/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "map/digits.h"
#include "out/json.h"

/* An object without file and problem: two numbers, a middle, and what is around them. */
#define OBJECT_MOST 256

static const char *truth(unsigned flag)
{
	return flag ? "true" : "false";
}

static void make_middle(struct map_middle *middle, const struct map_extent *extent)
{
	const unsigned flags = extent->flags;

	*middle = (struct map_middle){.length_bytes = extent->length_bytes,
				      .depth = extent->depth,
				      .flags = extent->flags,
				      .placed = extent->offset_bytes != QCOW2_NO_OFFSET,
				      .made = true};
	middle->size = (uint8_t)snprintf(
		middle->text, sizeof(middle->text),
		", \"length\": %" PRIu64 ", \"depth\": %" PRIu32
		", \"present\": %s, \"zero\": %s, \"data\": %s, \"compressed\": %s%s",
		extent->length_bytes, extent->depth, truth(flags & MAP_PRESENT),
		truth(flags & MAP_ZERO), truth(flags & MAP_DATA), truth(flags & MAP_COMPRESSED),
		middle->placed ? ", \"offset\": " : "");
}

static const struct map_middle *find_middle(struct map_text *text, const struct map_extent *extent)
{
	const uint64_t mixed = (extent->length_bytes + extent->flags + extent->depth * 64) *
			       UINT64_C(0x9e3779b97f4a7c15);
	struct map_middle *middle = &text->middles[mixed >> 56];

	if (!middle->made || middle->length_bytes != extent->length_bytes ||
	    middle->flags != extent->flags || middle->depth != extent->depth ||
	    middle->placed != (extent->offset_bytes != QCOW2_NO_OFFSET))
		make_middle(middle, extent);
	return middle;
}

/* Adds what few extents have. */
static void add_words(struct spool *out, const struct map_extent *extent, const char *file)
{
	struct json json;

	json_init(&json, out, 0, false);
	if (file && extent->offset_bytes != QCOW2_NO_OFFSET) {
		spool_text(out, ", \"filename\": ");
		json_bytes_as_text(&json,
				   (struct qcow2_bytes){(const uint8_t *)file, strlen(file)});
	}
	if (extent->flags & MAP_INVALID) {
		spool_text(out, ", \"invalid\": ");
		json_text(&json, qcow2_problem_kind_get(extent->problem)->id);
	}
}

void map_text_object(struct map_text *text, struct spool *out, const struct map_extent *extent,
		     const char *file)
{
	static const char begin[16] = "{ \"start\": ";
	const struct map_middle *middle = find_middle(text, extent);
	char *at = spool_reserve(out, OBJECT_MOST);

	if (!at)
		return;
	memcpy(at, begin, sizeof(begin));
	at = map_digits(at + strlen(begin), extent->start_bytes);
	memcpy(at, middle->text, MAP_MIDDLE_SIZE);
	at += middle->size;
	if (middle->placed)
		at = map_digits(at, extent->offset_bytes);
	if (file || extent->flags & MAP_INVALID) {
		spool_advance(out, at);
		add_words(out, extent, file);
		spool_write(out, "}", 1);
		return;
	}
	*at++ = '}';
	spool_advance(out, at);
}

/* Stores the lowest bytes of a number, the lowest first. */
static uint8_t *put_le(uint8_t *to, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*to++ = (uint8_t)(number >> 8 * i);
	return to;
}

void map_record(struct spool *out, const struct map_extent *extent)
{
	char *room = spool_reserve(out, MAP_RECORD_BYTES);
	uint8_t *at = (uint8_t *)room;

	if (!room)
		return;
	at = put_le(at, extent->start_bytes, 8);
	at = put_le(at, extent->length_bytes, 8);
	at = put_le(at, extent->offset_bytes, 8);
	at = put_le(at, extent->depth, 4);
	at = put_le(at, extent->flags, 2);
	at = put_le(at, extent->problem, 2);
	spool_advance(out, (const char *)at);
}
