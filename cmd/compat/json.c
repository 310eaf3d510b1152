/* SPDX-License-Identifier: MIT */
/*
 * The JSON page of `qcow2 compat`: documents, keys and their order as QEMU's qcow2.py prints them.
 * Names that are not UTF-8, at which it dies, get a name-hex beside.
 */
#include "compat/compat.h"

#include <qcow2/text.h>

#define INDENT 4

/* Each document starts a writer of its own; between the two is an empty line. */
static void begin_document(struct compat_json *page)
{
	if (page->documents++ > 0)
		spool_text(page->out, "\n");
	json_init(&page->json, page->out, INDENT, true);
}

static void begin_part(void *opaque, enum compat_part part)
{
	struct compat_json *page = opaque;

	switch (part) {
	case COMPAT_HEADER:
		begin_document(page);
		json_begin_object(&page->json);
		break;
	case COMPAT_EXTENSIONS:
		begin_document(page);
		json_begin_array(&page->json);
		break;
	case COMPAT_BITMAPS:
		json_key(&page->json, "data");
		json_begin_object(&page->json);
		break;
	case COMPAT_DIRECTORY:
		json_key(&page->json, "bitmap_directory");
		json_begin_array(&page->json);
		break;
	case COMPAT_TABLE:
		json_key(&page->json, "bitmap_table");
		json_begin_array(&page->json);
		break;
	default:
		json_begin_object(&page->json);
		break;
	}
}

static void end_part(void *opaque, enum compat_part part)
{
	struct compat_json *page = opaque;

	if (part == COMPAT_EXTENSIONS || part == COMPAT_DIRECTORY || part == COMPAT_TABLE)
		json_end_array(&page->json);
	else
		json_end_object(&page->json);
	if (part == COMPAT_HEADER || part == COMPAT_EXTENSIONS)
		spool_text(page->out, "\n");
}

static void show_field(void *opaque, const struct compat_field *field, uint64_t value)
{
	struct compat_json *page = opaque;

	if (field->style == COMPAT_TYPE) {
		json_key(&page->json, "name");
		json_text(&page->json, compat_extension_name(value));
	}
	json_key(&page->json, field->name);
	json_number(&page->json, value);
}

static void show_data(void *opaque, struct qcow2_bytes data, bool is_text)
{
	struct compat_json *page = opaque;

	json_key(&page->json, "data_str");
	if (is_text)
		json_bytes_as_quoted_text(&page->json, data);
	else
		json_text(&page->json, "<binary>");
}

static void show_bitmap(void *opaque, const struct qcow2_bitmap *bitmap)
{
	struct compat_json *page = opaque;

	json_key(&page->json, "name");
	json_bytes_as_text(&page->json, bitmap->name);
	if (!qcow2_text_is_utf8(bitmap->name)) {
		json_key(&page->json, "name-hex");
		json_hex(&page->json, bitmap->name);
	}
}

static void show_entry(void *opaque, const struct compat_entry *entry)
{
	struct compat_json *page = opaque;

	json_begin_object(&page->json);
	json_key(&page->json, "type");
	json_text(&page->json, entry->type);
	json_key(&page->json, "offset");
	json_number(&page->json, entry->offset_bytes);
	json_key(&page->json, "reserved");
	json_number(&page->json, entry->reserved);
	json_end_object(&page->json);
}

void compat_json_page(struct compat_json *json, struct compat_page *page)
{
	*page = (struct compat_page){
		.opaque = json,
		.begin = begin_part,
		.end = end_part,
		.field = show_field,
		.data = show_data,
		.bitmap = show_bitmap,
		.entry = show_entry,
		.with_tables = true,
	};
}
