/* SPDX-License-Identifier: MIT */
/* See extent_text.h. */
#include "bitmap/extent_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What stands before the start of an extent. */
static const char *begin_of(enum bitmap_format format)
{
	switch (format) {
	case BITMAP_JSON:
		return ",\n  {\"start\": ";
	case BITMAP_NDJSON:
		return "{\"start\": ";
	case BITMAP_LINES:
		break;
	}
	return "";
}

static void make_head(struct extent_text *text, uint64_t number)
{
	struct extent_piece *head = &text->head;
	const char *from = begin_of(text->format);

	/* The first object of an array has no comma before it, and its start is 0. */
	if (text->format == BITMAP_JSON && !text->begun)
		from++;
	head->size = (uint8_t)snprintf(head->text, sizeof(head->text), "%s", from);
	if (number > 0)
		head->size +=
			(uint8_t)snprintf(head->text + head->size, sizeof(head->text) - head->size,
					  "%" PRIu64, number);
	head->number = number;
	head->made = text->begun;
	text->begun = true;
}

static void make_tail(const struct extent_text *text, struct extent_piece *tail,
		      const struct qcow2_dirty_extent *extent)
{
	bool lines = text->format == BITMAP_LINES;

	tail->size = (uint8_t)snprintf(
		tail->text, sizeof(tail->text),
		lines ? " %" PRIu64 " %s\n" : ", \"length\": %" PRIu64 ", \"dirty\": %s}%s",
		extent->length_bytes,
		lines ? (extent->dirty ? "dirty" : "clean") : (extent->dirty ? "true" : "false"),
		text->format == BITMAP_NDJSON ? "\n" : "");
	tail->number = extent->length_bytes;
	tail->dirty = extent->dirty;
	tail->made = true;
}

/*
 * Writes eight digits of a number below 10^8: halves, then pairs, then digits, side by side in a
 * word.
 */
static void put_eight(char *to, uint32_t number)
{
	uint64_t word = number / 10000 | (uint64_t)(number % 10000) << 32;
	uint64_t high = word * 10486 >> 20 & UINT64_C(0x7f0000007f);

	word = high | (word - 100 * high) << 16;
	high = word * 103 >> 10 & UINT64_C(0x000f000f000f000f);
	word = (high | (word - 10 * high) << 8) + UINT64_C(0x3030303030303030);
	for (unsigned i = 0; i < 8; i++)
		to[i] = (char)(word >> 8 * i);
}

/* Writes the digits that are not in the head. Without a head, leading zeros are left out. */
static char *put_rest(char *to, uint32_t rest, bool whole)
{
	char digits[8];
	size_t zeros = 0;

	if (whole) {
		put_eight(to, rest);
		return to + 8;
	}
	put_eight(digits, rest);
	while (zeros < 7 && digits[zeros] == '0')
		zeros++;
	memcpy(to, digits + zeros, 8 - zeros);
	return to + 8 - zeros;
}

void extent_text_show(struct extent_text *text, struct spool *out,
		      const struct qcow2_dirty_extent *extent)
{
	uint64_t high = extent->start_bytes / EXTENT_HEAD_LESS;
	uint64_t mixed = extent->length_bytes * UINT64_C(0x9e3779b97f4a7c15);
	struct extent_piece *head = &text->head;
	struct extent_piece *tail = &text->tails[(mixed >> 56) ^ extent->dirty];
	char *at = spool_reserve(out, 3 * (size_t)EXTENT_TEXT_MAX);

	if (!at)
		return;
	if (!head->made || head->number != high)
		make_head(text, high);
	if (!tail->made || tail->number != extent->length_bytes || tail->dirty != extent->dirty)
		make_tail(text, tail, extent);
	memcpy(at, head->text, EXTENT_TEXT_MAX);
	at = put_rest(at + head->size, (uint32_t)(extent->start_bytes % EXTENT_HEAD_LESS),
		      high > 0);
	memcpy(at, tail->text, EXTENT_TEXT_MAX);
	spool_advance(out, at + tail->size);
}
