/* SPDX-License-Identifier: MIT */
/* See extent_text.h. */
#include "bitmap/extent_text.h"

#include <string.h>

#include "out/digits.h"

/* Extents for which room is made together. */
#define STEP 256

static void set_words(struct extent_words *words, const char *text)
{
	words->size = (uint8_t)strlen(text);
	memcpy(words->text, text, words->size);
}

void extent_text_go_on(struct extent_text *text)
{
	text->begun = true;
}

void extent_text_begin(struct extent_text *text, enum bitmap_format format)
{
	static const char *const words[][4] = {
		[BITMAP_LINES] = {"", " ", " clean\n", " dirty\n"},
		[BITMAP_JSON] = {",\n  {\"start\": ", ", \"length\": ", ", \"dirty\": false}",
				 ", \"dirty\": true}"},
		[BITMAP_NDJSON] = {"{\"start\": ", ", \"length\": ", ", \"dirty\": false}\n",
				   ", \"dirty\": true}\n"},
	};
	const char *const *mine = words[format];

	*text = (struct extent_text){.begun = format != BITMAP_JSON};
	set_words(&text->head, mine[0]);
	text->begin_size = text->head.size;
	set_words(&text->middle, mine[1]);
	set_words(&text->ends[false], mine[2]);
	set_words(&text->ends[true], mine[3]);
}

/* Puts the digits of `high` into the head, none for 0. */
static void make_head(struct extent_text *text, uint64_t high)
{
	char digits[DIGITS_ROOM];
	size_t size = high > 0 ? (size_t)(digits_put(digits, high) - digits) : 0;

	memcpy(text->head.text + text->begin_size, digits, size);
	text->head.size = (uint8_t)(text->begin_size + size);
	text->high = high;
}

static inline char *put_words(char *to, const struct extent_words *words)
{
	memcpy(to, words->text, EXTENT_WORDS_MAX);
	return to + words->size;
}

/* Keeps a tail, which begins at `from` and has room behind it. */
static void keep_tail(struct extent_tail *tail, const struct qcow2_dirty_extent *extent,
		      const char *from, size_t size)
{
	memcpy(tail->text, from, EXTENT_TAIL_MAX);
	tail->size = (uint8_t)size;
	tail->length_bytes = extent->length_bytes;
	tail->dirty = extent->dirty;
}

static inline char *put_tail(struct extent_text *text, char *to,
			     const struct qcow2_dirty_extent *extent)
{
	const uint64_t mixed = extent->length_bytes * UINT64_C(0x9e3779b97f4a7c15);
	struct extent_tail *tail = &text->tails[(mixed >> 58) ^ extent->dirty];
	char *from = to;

	if (tail->length_bytes == extent->length_bytes && tail->dirty == extent->dirty) {
		memcpy(to, tail->text, EXTENT_TAIL_MAX);
		return to + tail->size;
	}
	to = put_words(to, &text->middle);
	to = digits_put(to, extent->length_bytes);
	to = put_words(to, &text->ends[extent->dirty]);
	/* A length that comes once may not come again. */
	if (tail->missed_bytes == extent->length_bytes)
		keep_tail(tail, extent, from, (size_t)(to - from));
	tail->missed_bytes = extent->length_bytes;
	return to;
}

static inline char *put_extent(struct extent_text *text, char *to,
			       const struct qcow2_dirty_extent *extent)
{
	const uint64_t high = extent->start_bytes / DIGITS_EIGHT;

	if (high != text->high)
		make_head(text, high);
	to = put_words(to, &text->head);
	if (high > 0) {
		digits_put_word(to, digits_eight(extent->start_bytes % DIGITS_EIGHT));
		to += 8;
	} else {
		to = digits_put_first(to, extent->start_bytes);
	}
	return put_tail(text, to, extent);
}

void extent_text_add(struct extent_text *text, struct spool *out,
		     const struct qcow2_dirty_extent *extents, size_t count)
{
	while (count > 0) {
		const size_t some = count < STEP ? count : STEP;
		char *to = spool_reserve(out, some * EXTENT_TEXT_MAX);

		if (!to)
			return;
		for (size_t i = 0; i < some; i++) {
			char *start = to;

			to = put_extent(text, to, &extents[i]);
			/* The first object of an array has no comma before it. */
			if (!text->begun) {
				text->begun = true;
				memmove(start, start + 1, (size_t)(--to - start));
			}
		}
		spool_advance(out, to);
		extents += some;
		count -= some;
	}
}
