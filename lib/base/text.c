/* SPDX-License-Identifier: MIT */
/*
 * The public functions over utf8.h, and the one function that makes text from an image safe for a
 * line of output.
 */
#include <qcow2/text.h>

#include "base/utf8.h"

#include <string.h>

/* How far a run of plain characters is looked for at once. */
#define RUN_MOST ((size_t)64)

static const char hex_digits[] = "0123456789abcdef";

bool qcow2_text_is_utf8(struct qcow2_bytes text)
{
	return q2_utf8_valid(text);
}

size_t qcow2_text_next(struct qcow2_bytes text, uint32_t *codepoint, bool *valid)
{
	return q2_utf8_next(text.data, text.size, codepoint, valid);
}

bool qcow2_text_is_printable(uint32_t codepoint)
{
	return q2_codepoint_printable(codepoint);
}

/* A buffer that takes whole pieces, until one does not fit. */
struct pieces {
	char *buffer;
	size_t size;
	size_t used;
	size_t wanted;
	bool full;
};

static void put(struct pieces *pieces, const void *piece, size_t length)
{
	pieces->wanted += length;
	if (pieces->full || length >= pieces->size - pieces->used) {
		pieces->full = true;
		return;
	}
	memcpy(pieces->buffer + pieces->used, piece, length);
	pieces->used += length;
}

/* As put(), of characters of a byte each, of which as many are put as fit. */
static void put_run(struct pieces *pieces, const uint8_t *bytes, size_t length)
{
	size_t room = pieces->full ? 0 : pieces->size - pieces->used - 1;
	size_t fits = length < room ? length : room;

	if (fits > 0)
		memcpy(pieces->buffer + pieces->used, bytes, fits);
	pieces->used += fits;
	pieces->wanted += length;
	pieces->full |= fits < length;
}

/* "\u{1f}". By hand: names from an image may be nothing but such characters. */
static void put_codepoint(struct pieces *pieces, uint32_t codepoint)
{
	char escape[] = "\\u{........}";
	const size_t end = sizeof(escape) - 1;
	size_t at = end - 1;

	do {
		escape[--at] = hex_digits[codepoint & 15];
		codepoint >>= 4;
	} while (codepoint > 0);
	memcpy(escape + at - 3, "\\u{", 3);
	put(pieces, escape + at - 3, end - (at - 3));
}

static void put_escape(struct pieces *pieces, uint32_t codepoint)
{
	switch (codepoint) {
	case '\\':
		put(pieces, "\\\\", 2);
		return;
	case '\t':
		put(pieces, "\\t", 2);
		return;
	case '\n':
		put(pieces, "\\n", 2);
		return;
	case '\r':
		put(pieces, "\\r", 2);
		return;
	default:
		put_codepoint(pieces, codepoint);
	}
}

static void put_byte(struct pieces *pieces, uint8_t byte)
{
	const char escape[] = {'\\', 'x', hex_digits[byte >> 4], hex_digits[byte & 15]};

	put(pieces, escape, sizeof(escape));
}

/*
 * How many bytes from here on, at most RUN_MOST, stay as they are: printable ASCII without a
 * backslash. Were it to look further, a text of backslashes would be looked through for each of them.
 */
static size_t plain_run(const uint8_t *here, size_t size)
{
	size_t run = q2_ascii_run(here, size < RUN_MOST ? size : RUN_MOST);
	const uint8_t *backslash = memchr(here, '\\', run);

	return backslash ? (size_t)(backslash - here) : run;
}

size_t qcow2_text_escape(struct qcow2_bytes text, char *buffer, size_t size)
{
	struct pieces pieces = {.buffer = buffer, .size = size, .full = size == 0};
	size_t at = 0;

	while (at < text.size) {
		const uint8_t *here = text.data + at;
		size_t length = plain_run(here, text.size - at);
		uint32_t codepoint;
		bool valid;

		if (length > 0) {
			put_run(&pieces, here, length);
			at += length;
			continue;
		}
		length = q2_utf8_next(here, text.size - at, &codepoint, &valid);
		if (!valid)
			put_byte(&pieces, *here);
		else if (codepoint != '\\' && q2_codepoint_printable(codepoint))
			put(&pieces, here, length);
		else
			put_escape(&pieces, codepoint);
		at += length;
	}
	if (size > 0)
		buffer[pieces.used] = '\0';
	return pieces.wanted;
}

void q2_text_escape_start(struct qcow2_bytes text, char *buffer, size_t size)
{
	if (text.size > size)
		text.size = size;
	qcow2_text_escape(text, buffer, size);
}
