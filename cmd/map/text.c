/* SPDX-License-Identifier: MIT */
/* See text.h. The order of the members, and the blanks, are those of qemu-img map. */
#include "map/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/digits.h"
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

	middle->depth = extent->depth;
	middle->made = true;
	middle->size = (uint8_t)snprintf(
		middle->text, sizeof(middle->text),
		", \"depth\": %" PRIu32
		", \"present\": %s, \"zero\": %s, \"data\": %s, \"compressed\": %s%s",
		extent->depth, truth(flags & MAP_PRESENT), truth(flags & MAP_ZERO),
		truth(flags & MAP_DATA), truth(flags & MAP_COMPRESSED),
		extent->offset_bytes != QCOW2_NO_OFFSET ? ", \"offset\": " : "");
}

/* Neither length nor offset matters, only whether there is an offset. */
static const struct map_middle *find_middle(struct map_text *text, const struct map_extent *extent)
{
	const unsigned placed = extent->offset_bytes != QCOW2_NO_OFFSET;
	const unsigned index = extent->flags | placed << 5 | extent->depth << 6;
	struct map_middle *middle = &text->middles[index % MAP_MIDDLES];

	if (!middle->made || middle->depth != extent->depth)
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

static void set_before(struct map_text *text, const char *before)
{
	text->before_size = (uint8_t)strlen(before);
	memcpy(text->before, before, text->before_size);
}

void map_text_begin(struct map_text *text, enum map_format format)
{
	text->format = format;
	text->is_first = true;
	set_before(text, format == MAP_JSON ? "[{ \"start\": " : "{ \"start\": ");
}

void map_text_go_on(struct map_text *text)
{
	if (text->is_first && text->format == MAP_JSON)
		set_before(text, "},\n{ \"start\": ");
	text->is_first = false;
}

/* Writes the start of an object. Most of its digits are those of the one before. */
static inline char *put_start(struct map_text *text, char *to, uint64_t start_bytes)
{
	const uint64_t high = start_bytes / DIGITS_EIGHT;

	if (high == 0 || high >= DIGITS_EIGHT)
		return digits_put(to, start_bytes);
	if (high != text->high) {
		text->high = high;
		text->high_size =
			(uint8_t)(digits_put_first(text->high_text, high) - text->high_text);
	}
	memcpy(to, text->high_text, 8);
	to += text->high_size;
	digits_put_word(to, digits_eight(start_bytes % DIGITS_EIGHT));
	return to + 8;
}

static void make_length(struct map_text *text, uint64_t length_bytes)
{
	static const char key[] = ", \"length\": ";
	const size_t size = sizeof(key) - 1;

	memcpy(text->length_text, key, size);
	text->length_size =
		(uint8_t)(digits_put(text->length_text + size, length_bytes) - text->length_text);
	text->length_bytes = length_bytes;
}

void map_text_object(struct map_text *text, struct spool *out, const struct map_extent *extent,
		     const char *file)
{
	const struct map_middle *middle = find_middle(text, extent);
	char *at = spool_reserve(out, OBJECT_MOST);

	if (!at)
		return;
	memcpy(at, text->before, sizeof(text->before));
	at = put_start(text, at + text->before_size, extent->start_bytes);
	if (extent->length_bytes != text->length_bytes || text->length_size == 0)
		make_length(text, extent->length_bytes);
	memcpy(at, text->length_text, 32);
	at += text->length_size;
	memcpy(at, middle->text, MAP_MIDDLE_SIZE);
	at += middle->size;
	if (extent->offset_bytes != QCOW2_NO_OFFSET)
		at = digits_put(at, extent->offset_bytes);
	spool_advance(out, at);
	if (file || extent->flags & MAP_INVALID)
		add_words(out, extent, file);
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

void map_text_add(struct map_text *text, struct spool *out, const struct map_extent *extent,
		  const char *file)
{
	if (text->format == MAP_BINARY) {
		map_record(out, extent);
		return;
	}
	map_text_object(text, out, extent, file);
	if (text->format == MAP_NDJSON)
		spool_write(out, "}\n", 2);
}
