/* SPDX-License-Identifier: MIT */
/*
 * The text pages of `qcow2 compat`: lines of a name padded to 25 columns and a value, as QEMU's
 * qcow2.py prints them since 2020 (layout qemu), and as the patch that first showed bitmaps did
 * (layout v7). Text of the image is printed as it is, but for what a terminal must not get.
 */
#include "compat/compat.h"

#include <qcow2/text.h>

#include <inttypes.h>

/* Text is escaped in pieces of this many bytes; an escape takes at most ten per byte. */
#define PIECE_BYTES  64
#define ESCAPE_BYTES 10

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

static void print_name(struct spool *out, const char *name)
{
	spool_print(out, "%-25s ", name);
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
		spool_print(text->out, "0x%" PRIx64, value);
		break;
	case COMPAT_TYPE:
		spool_print(text->out, "0x%" PRIx64 " (%s)", value, compat_extension_name(value));
		break;
	case COMPAT_BITS:
		print_bits(text->out, value);
		break;
	case COMPAT_FLAGS:
		if (text->v7)
			spool_print(text->out, "%" PRIu64, value);
		else
			print_flags(text->out, value);
		break;
	case COMPAT_DECIMAL:
		spool_print(text->out, "%" PRIu64, value);
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

	spool_print(text->out, "%-14" PRIu64 " %-15s %-12" PRIu64 " %" PRIu64 "\n", entry->index,
		    entry->type, entry->size_bytes, entry->offset_bytes);
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
