/* SPDX-License-Identifier: MIT */
/*
 * The text pages of `qcow2 compat`: lines of a name padded to 25 columns and a value, as QEMU's
 * qcow2.py prints them since 2020 (layout qemu), and as the patch that first showed bitmaps did
 * (layout v7). Text of the image is printed as it is, but for what a terminal must not get.
 */
#include "compat/compat.h"

#include <qcow2/text.h>

#include <inttypes.h>
#include <string.h>

#include "out/digits.h"

/* Text is escaped in pieces of this many bytes; an escape takes at most ten per byte. */
#define PIECE_BYTES  64
#define ESCAPE_BYTES 10

/* What the line of a table entry takes at most, and is touched behind it. */
#define ENTRY_MOST 256

static const char *const flag_names[] = {"in-use", "auto"};
#define FLAG_NAMES (sizeof(flag_names) / sizeof(flag_names[0]))

/* Where a piece of at most PIECE_BYTES ends: before a backslash, and not within a character. */
static size_t piece_end(struct qcow2_bytes text)
{
	size_t at = 0;

	while (at < text.size && text.data[at] != '\\') {
		struct qcow2_bytes rest = {text.data + at, text.size - at};
		uint32_t codepoint;
		bool valid;
		size_t length = qcow2_text_next(rest, &codepoint, &valid);

		if (at + length > PIECE_BYTES)
			break;
		at += length;
	}
	return at;
}

/* A backslash stays single, as qcow2.py prints it; everything else as qcow2_text_escape(). */
static void print_text(struct spool *out, struct qcow2_bytes text)
{
	char escaped[PIECE_BYTES * ESCAPE_BYTES + 1];

	while (text.size > 0) {
		size_t length = piece_end(text);

		if (length > 0) {
			struct qcow2_bytes piece = {text.data, length};

			qcow2_text_escape(piece, escaped, sizeof(escaped));
			spool_text(out, escaped);
		} else {
			spool_text(out, "\\");
			length = 1;
		}
		text.data += length;
		text.size -= length;
	}
}

/* Puts text, and blanks behind it up to a width and one more. Returns where they end. */
static char *put_padded(char *to, const char *text, unsigned width)
{
	const size_t size = strlen(text);

	memcpy(to, text, size);
	memset(to + size, ' ', width + 1);
	return to + (size < width ? width : size) + 1;
}

static char *put_number(char *to, uint64_t number, unsigned width)
{
	char digits[DIGITS_ROOM];

	*digits_put(digits, number) = '\0';
	return put_padded(to, digits, width);
}

static void print_name(struct spool *out, const char *name)
{
	char *to = spool_reserve(out, strlen(name) + 32);

	if (to)
		spool_advance(out, put_padded(to, name, 25));
}

static void print_number(struct spool *out, uint64_t number)
{
	char *to = spool_reserve(out, DIGITS_ROOM);

	if (to)
		spool_advance(out, digits_put(to, number));
}

static void print_hex(struct spool *out, uint64_t number)
{
	char *to = spool_reserve(out, 2 + DIGITS_ROOM);

	if (!to)
		return;
	memcpy(to, "0x", 2);
	spool_advance(out, digits_put_hex(to + 2, number));
}

/* "[0, 3]" */
static void print_bits(struct spool *out, uint64_t value)
{
	const char *between = "";

	spool_text(out, "[");
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(value >> bit & 1))
			continue;
		spool_print(out, "%s%u", between, bit);
		between = ", ";
	}
	spool_text(out, "]");
}

/* "0x7 (['in-use', 'auto', 'bit-2'])" */
static void print_flags(struct spool *out, uint64_t value)
{
	const char *between = "";

	spool_print(out, "0x%" PRIx64 " ([", value);
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(value >> bit & 1))
			continue;
		if (bit < FLAG_NAMES)
			spool_print(out, "%s'%s'", between, flag_names[bit]);
		else
			spool_print(out, "%s'bit-%u'", between, bit);
		between = ", ";
	}
	spool_text(out, "])");
}

static void print_value(const struct compat_text *text, const struct compat_field *field,
			uint64_t value)
{
	switch (field->style) {
	case COMPAT_HEX:
		print_hex(text->out, value);
		break;
	case COMPAT_TYPE:
		spool_print(text->out, "0x%" PRIx64 " (%s)", value, compat_extension_name(value));
		break;
	case COMPAT_BITS:
		print_bits(text->out, value);
		break;
	case COMPAT_FLAGS:
		if (text->v7)
			print_number(text->out, value);
		else
			print_flags(text->out, value);
		break;
	case COMPAT_DECIMAL:
		print_number(text->out, value);
		break;
	}
}

static void show_field(void *opaque, const struct compat_field *field, uint64_t value)
{
	struct compat_text *text = opaque;

	print_name(text->out, field->name);
	print_value(text, field, value);
	spool_text(text->out, "\n");
}

static void show_data(void *opaque, struct qcow2_bytes data, bool is_text)
{
	struct compat_text *text = opaque;

	print_name(text->out, "data");
	if (is_text) {
		spool_text(text->out, "'");
		print_text(text->out, data);
		spool_text(text->out, "'\n");
	} else {
		spool_text(text->out, "<binary>\n");
	}
}

static void show_bitmap(void *opaque, const struct qcow2_bitmap *bitmap)
{
	struct compat_text *text = opaque;

	spool_text(text->out, "\n");
	print_name(text->out, "Bitmap name");
	print_text(text->out, bitmap->name);
	spool_text(text->out, "\n");
	if (!text->v7)
		return;
	for (unsigned bit = 0; bit < FLAG_NAMES; bit++) {
		if (bitmap->entry.flags >> bit & 1) {
			print_name(text->out, "flag");
			spool_print(text->out, "%s\n", flag_names[bit]);
		}
	}
	print_name(text->out, "table size");
	spool_print(text->out, "%" PRIu64 " (bytes)\n",
		    UINT64_C(8) * bitmap->entry.bitmap_table_size);
}

static void show_entry(void *opaque, const struct compat_entry *entry)
{
	struct compat_text *text = opaque;

	char *to = spool_reserve(text->out, ENTRY_MOST);

	if (!to)
		return;
	to = put_number(to, entry->index, 14);
	to = put_padded(to, entry->type, 15);
	to = put_number(to, entry->size_bytes, 12);
	to = digits_put(to, entry->offset_bytes);
	*to = '\n';
	spool_advance(text->out, to + 1);
}

static void begin_part(void *opaque, enum compat_part part)
{
	struct compat_text *text = opaque;

	if (part == COMPAT_EXTENSION)
		spool_text(text->out, "Header extension:\n");
	else if (part == COMPAT_TABLE)
		spool_text(text->out, "Bitmap table   type            size         offset\n");
}

static void end_part(void *opaque, enum compat_part part)
{
	struct compat_text *text = opaque;

	if (part == COMPAT_HEADER || part == COMPAT_EXTENSION)
		spool_text(text->out, "\n");
}

void compat_text_page(struct compat_text *text, struct compat_page *page)
{
	page->opaque = text;
	page->begin = begin_part;
	page->end = end_part;
	page->field = show_field;
	page->data = show_data;
	page->bitmap = show_bitmap;
	page->entry = show_entry;
	page->with_tables = !text->v7;
}
