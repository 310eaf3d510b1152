/* SPDX-License-Identifier: MIT */
/*
 * The order in which QEMU's qcow2.py shows an image: header, header extensions, and within the
 * bitmaps extension each bitmap with its table. What the image claims and does not have is a flaw,
 * and the walk goes on with what is there.
 */
#include "compat/compat.h"

#include <qcow2/entry.h>
#include <qcow2/source.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* qcow2.py's header ends here: the compression type behind it is not shown. */
#define HEADER_BYTES QCOW2_HEADER_V3_BYTES
/* Bitmaps and table entries that are shown however little the file stores. */
#define SHOWN_ANYWAY ((1U << 20) + 65536)
/*
 * Bytes of a bitmap directory that are read however little the file stores: more than the shortest
 * entries of as many bitmaps as QEMU takes.
 */
#define READ_ANYWAY (UINT64_C(2) << 20)

struct walk {
	const struct qcow2_image *image;
	const struct compat_page *page;
	const struct compat_flaws *flaws;
	struct qcow2_table *table;
	uint64_t left; /* how many more bitmaps and table entries may be shown */
	uint64_t
		directory_bytes; /* of a directory that may be read; it may be longer by an entry */
	bool limit_told;
	bool directory_shown;
};

__attribute__((format(printf, 2, 3))) static void tell(const struct walk *walk, const char *format,
						       ...)
{
	char text[320];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	walk->flaws->flaw(walk->flaws->opaque, text);
}

static void begin(const struct walk *walk, enum compat_part part)
{
	walk->page->begin(walk->page->opaque, part);
}

static void end(const struct walk *walk, enum compat_part part)
{
	walk->page->end(walk->page->opaque, part);
}

/* The fields of a structure that lie within the bytes at raw. */
static void show_fields(const struct walk *walk, const struct compat_fields *fields,
			struct qcow2_bytes raw)
{
	for (size_t i = 0; i < fields->count; i++) {
		const struct compat_field *field = &fields->list[i];

		if ((size_t)field->offset_bytes + field->width_bytes > raw.size)
			return;
		walk->page->field(walk->page->opaque, field, compat_field_load(field, raw.data));
	}
}

static void store(uint8_t *raw, const char *name, uint64_t value)
{
	compat_field_store(compat_field_find(&compat_header, name), raw, value);
}

static void show_header(const struct walk *walk)
{
	const struct qcow2_header *header = qcow2_image_header(walk->image);
	struct qcow2_bytes first = qcow2_image_first_cluster(walk->image);
	uint8_t raw[HEADER_BYTES] = {0};

	if (first.size > 0)
		memcpy(raw, first.data, first.size < sizeof(raw) ? first.size : sizeof(raw));
	if (header->version < 3) {
		memset(raw + QCOW2_HEADER_V2_BYTES, 0, sizeof(raw) - QCOW2_HEADER_V2_BYTES);
		store(raw, "refcount_order", header->refcount_order);
		store(raw, "header_length", header->header_length);
	}
	begin(walk, COMPAT_HEADER);
	show_fields(walk, &compat_header, (struct qcow2_bytes){raw, sizeof(raw)});
	end(walk, COMPAT_HEADER);
}

/* Tells once that there is more than can be stored, and returns false. */
static bool leave_out(struct walk *walk, const char *what)
{
	if (!walk->limit_told)
		tell(walk, "more %s than a file of this size stores: the rest is left out", what);
	walk->limit_told = true;
	return false;
}

/* Whether one more bitmap or table entry may be shown. Tables may be shared without end. */
static bool take(struct walk *walk)
{
	if (walk->left > 0) {
		walk->left--;
		return true;
	}
	return leave_out(walk, "bitmap table entries");
}

/* What qcow2.py calls a kind of entry. */
static const char *type_of(enum qcow2_bitmap_entry_kind kind)
{
	switch (kind) {
	case QCOW2_BITMAP_ENTRY_ALL_ZEROES:
		return "all-zeroes";
	case QCOW2_BITMAP_ENTRY_ALL_ONES:
		return "all-ones";
	case QCOW2_BITMAP_ENTRY_SERIALIZED:
		return "serialized";
	case QCOW2_BITMAP_ENTRY_INVALID:
		break;
	}
	return "invalid";
}

static struct compat_entry entry_of(uint64_t index, uint64_t word, uint64_t cluster_bytes)
{
	const enum qcow2_bitmap_entry_kind kind = qcow2_bitmap_entry_classify(word);

	return (struct compat_entry){
		.index = index,
		.offset_bytes = qcow2_bitmap_table_entry_decode(word).offset,
		.reserved = word & qcow2_bitmap_table_entry_reserved,
		.type = type_of(kind),
		.size_bytes = kind == QCOW2_BITMAP_ENTRY_SERIALIZED ? cluster_bytes : 0,
	};
}

static int show_table(struct walk *walk, const struct qcow2_bitmap *bitmap, struct qcow2_error *err)
{
	uint64_t cluster_bytes = qcow2_image_geometry(walk->image)->cluster_size_bytes;
	uint64_t offset = bitmap->entry.bitmap_table_offset;
	uint64_t claimed = bitmap->entry.bitmap_table_size;
	uint64_t count = qcow2_table_begin(walk->table, offset, claimed);

	if (count < claimed)
		tell(walk,
		     "bitmap %" PRIu64 ": the file ends after %" PRIu64 " of %" PRIu64
		     " table entries at offset 0x%" PRIx64,
		     bitmap->index, count, claimed, offset);
	for (uint64_t i = 0; i < count && take(walk); i++) {
		struct compat_entry entry;
		uint64_t word;

		if (qcow2_table_entry(walk->table, i, &word, err))
			return -1;
		entry = entry_of(i, word, cluster_bytes);
		walk->page->entry(walk->page->opaque, &entry);
	}
	return 0;
}

static int show_bitmap(struct walk *walk, const struct qcow2_bitmap *bitmap,
		       struct qcow2_error *err)
{
	int status = 0;

	if (bitmap->cut)
		tell(walk, "bitmap %" PRIu64 ": its directory entry at offset 0x%" PRIx64 " is cut",
		     bitmap->index, bitmap->offset_bytes);
	begin(walk, COMPAT_BITMAP);
	walk->page->bitmap(walk->page->opaque, bitmap);
	show_fields(walk, &compat_directory_entry, bitmap->raw);
	if (walk->page->with_tables) {
		begin(walk, COMPAT_TABLE);
		if (bitmap->raw.size >= compat_directory_entry.size_bytes)
			status = show_table(walk, bitmap, err);
		end(walk, COMPAT_TABLE);
	}
	end(walk, COMPAT_BITMAP);
	return status;
}

static int show_bitmaps(struct walk *walk, struct qcow2_bitmaps *bitmaps, struct qcow2_error *err)
{
	uint32_t claimed = qcow2_bitmaps_header(bitmaps)->nb_bitmaps;
	uint64_t count = 0;
	const struct qcow2_bitmap *bitmap;
	int status = 0;

	while (take(walk)) {
		const uint64_t used_bytes = qcow2_bitmaps_used_bytes(bitmaps);

		status = qcow2_bitmaps_next(bitmaps, &bitmap, err);
		if (status <= 0)
			break;
		/* Directories may lie in holes. */
		if (used_bytes > walk->directory_bytes) {
			(void)leave_out(walk, "bitmaps");
			return 0;
		}
		count++;
		status = show_bitmap(walk, bitmap, err);
		if (status)
			break;
	}
	if (status == 0 && count < claimed && !walk->limit_told)
		tell(walk, "the bitmap directory ends after %" PRIu64 " of %" PRIu32 " bitmaps",
		     count, claimed);
	return status;
}

/* The characters that Python's string.printable holds. */
static bool is_python_printable(uint8_t byte)
{
	return (byte >= 0x20 && byte < 0x7f) || (byte >= '\t' && byte <= '\r');
}

static bool is_text(struct qcow2_bytes data)
{
	for (size_t i = 0; i < data.size; i++)
		if (!is_python_printable(data.data[i]))
			return false;
	return true;
}

/* The directory that a bitmaps extension names. The library follows the first such extension. */
static int show_directory(struct walk *walk, struct qcow2_bytes data, struct qcow2_error *err)
{
	struct qcow2_bitmaps_extension extension;
	struct qcow2_bitmaps *bitmaps = NULL;
	int status = -1;

	if (data.size < compat_bitmaps_extension.size_bytes) {
		tell(walk, "the bitmaps extension is cut after %zu bytes", data.size);
		return 0;
	}
	if (walk->directory_shown) {
		tell(walk, "the bitmap directory of a second bitmaps extension is left out");
		return 0;
	}
	walk->directory_shown = true;
	qcow2_bitmaps_extension_decode(&extension, data.data, data.size);
	/* Where no bitmaps are, qcow2.py reads nothing, wherever that is. */
	if (extension.nb_bitmaps == 0)
		return 0;
	if (qcow2_bitmaps_open(walk->image, &bitmaps, err) == 0) {
		status = show_bitmaps(walk, bitmaps, err);
	} else if (err->code == QCOW2_ERROR_BROKEN || err->code == QCOW2_ERROR_NOT_FOUND) {
		tell(walk, "%s", err->text);
		status = 0;
	}
	qcow2_bitmaps_close(bitmaps);
	return status;
}

static int show_extension(struct walk *walk, const struct qcow2_extension *extension,
			  struct qcow2_error *err)
{
	int status = 0;

	if (extension->cut)
		tell(walk,
		     "header extension %" PRIu64 " at offset 0x%" PRIx64 " is cut: %zu of %" PRIu32
		     " bytes",
		     extension->index, extension->offset_bytes, extension->data.size,
		     extension->header.length);
	begin(walk, COMPAT_EXTENSION);
	show_fields(walk, &compat_extension, extension->raw);
	if (extension->header.magic != QCOW2_EXTENSION_BITMAPS) {
		walk->page->data(walk->page->opaque, extension->data, is_text(extension->data));
	} else {
		begin(walk, COMPAT_BITMAPS);
		show_fields(walk, &compat_bitmaps_extension, extension->data);
		begin(walk, COMPAT_DIRECTORY);
		status = show_directory(walk, extension->data, err);
		end(walk, COMPAT_DIRECTORY);
		end(walk, COMPAT_BITMAPS);
	}
	end(walk, COMPAT_EXTENSION);
	return status;
}

int compat_walk(const struct qcow2_image *image, bool with_header, const struct compat_page *page,
		const struct compat_flaws *flaws, struct qcow2_error *err)
{
	uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(image));
	struct walk walk = {
		.image = image,
		.page = page,
		.flaws = flaws,
		.left = stored / 8 + SHOWN_ANYWAY,
		.directory_bytes = stored + READ_ANYWAY,
	};
	struct qcow2_extensions *extensions = NULL;
	const struct qcow2_extension *extension;
	int status = 0;

	if (qcow2_table_open(image, &walk.table, err))
		return -1;
	if (qcow2_extensions_open(image, &extensions, err)) {
		qcow2_table_close(walk.table);
		return -1;
	}
	if (!qcow2_image_geometry(image))
		tell(&walk, "cluster_bits or refcount_order is outside of what the format allows");
	if (with_header)
		show_header(&walk);
	begin(&walk, COMPAT_EXTENSIONS);
	while (!status && qcow2_extensions_next(extensions, &extension))
		status = show_extension(&walk, extension, err);
	end(&walk, COMPAT_EXTENSIONS);
	qcow2_extensions_close(extensions);
	qcow2_table_close(walk.table);
	return status;
}
