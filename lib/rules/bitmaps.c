/* SPDX-License-Identifier: MIT */
/*
 * The rules of bitmap directory entries, and of the directory as a whole ("Bitmap directory"). Who
 * uses the clusters of a bitmap is not judged here; the check does that.
 */
#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "image/extensions.h"
#include "rules/rules.h"

#include <stddef.h>

#define AT(field) offsetof(struct qcow2_bitmap_dir_entry, field)

/* QEMU's limits. */

/* The entry that is looked at, and who wants to know. */
struct context {
	const struct qcow2_bitmap *bitmap;
	const struct qcow2_geometry *geometry;
	const struct q2_reporter *reporter;
};

/* finding.offset_bytes is relative to the entry. */
static void complain(const struct context *c, struct q2_finding finding, const char *field)
{
	finding.offset_bytes += c->bitmap->offset_bytes;
	q2_report(c->reporter, &finding, "bitmaps/%llu%s%s", (unsigned long long)c->bitmap->index,
		  field[0] ? "/" : "", field);
}

/* A value that is wrong as such. */
static void complain_value(const struct context *c, enum qcow2_problem_id id, uint64_t offset,
			   uint64_t found, const char *field)
{
	complain(c,
		 (struct q2_finding){
			 .id = id, .offset_bytes = offset, .has_found = true, .found = found},
		 field);
}

/* A value beside the one that was expected. */
static void complain_limit(const struct context *c, struct q2_finding finding, const char *field)
{
	finding.has_found = true;
	complain(c, finding, field);
}

/*
 * in_use is legal, and worth a warning: the bits may be stale. QEMU knows no extra data, neither
 * the bytes nor the flag that says that programs may ignore them, and refuses the bitmap.
 */
static void rule_flags(const struct context *c)
{
	const struct qcow2_bitmap_dir_entry *e = &c->bitmap->entry;
	bool compatible = (e->flags & QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE) != 0;

	if (e->flags & ~QCOW2_BITMAP_FLAGS_KNOWN)
		complain_value(c, QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED, AT(flags), e->flags,
			       "flags");
	if (e->flags & QCOW2_BITMAP_IN_USE)
		complain_value(c, QCOW2_PROBLEM_BITMAP_IN_USE, AT(flags), e->flags, "flags");
	if (e->extra_data_size > 0 && !compatible)
		complain_value(c, QCOW2_PROBLEM_BITMAP_EXTRA_DATA_UNKNOWN, AT(extra_data_size),
			       e->extra_data_size, "extra_data_size");
	if (e->extra_data_size > 0 || compatible)
		complain_value(c, QCOW2_PROBLEM_BITMAP_EXTRA_DATA_QEMU,
			       e->extra_data_size > 0 ? AT(extra_data_size) : AT(flags),
			       e->extra_data_size > 0 ? e->extra_data_size : e->flags,
			       e->extra_data_size > 0 ? "extra_data_size" : "flags");
}

/* Granularities of 2^64 bytes and more have no meaning; QEMU's bounds are narrower. */
static void rule_type(const struct context *c)
{
	const struct qcow2_bitmap_dir_entry *e = &c->bitmap->entry;
	const bool too_fine = e->granularity_bits < QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN;

	if (e->type != 1)
		complain_limit(c,
			       (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_TYPE,
						   .offset_bytes = AT(type),
						   .found = e->type,
						   .expectation = QCOW2_EXPECT_VALUE,
						   .expected = 1},
			       "type");
	if (e->granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		complain_limit(
			c,
			(struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_GRANULARITY,
					    .offset_bytes = AT(granularity_bits),
					    .found = e->granularity_bits,
					    .expectation = QCOW2_EXPECT_AT_MOST,
					    .expected = QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX},
			"granularity_bits");
	else if (too_fine || e->granularity_bits > QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX)
		complain_limit(
			c,
			(struct q2_finding){
				.id = QCOW2_PROBLEM_BITMAP_GRANULARITY_QEMU,
				.offset_bytes = AT(granularity_bits),
				.found = e->granularity_bits,
				.expectation =
					too_fine ? QCOW2_EXPECT_AT_LEAST : QCOW2_EXPECT_AT_MOST,
				.expected = too_fine
						    ? QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN
						    : QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX},
			"granularity_bits");
}

/*
 * Names are bytes, and need not be text. An entry that is cut has a part of its name, which is not
 * compared with others.
 */
static void rule_name(const struct context *c, struct q2_names_seen *seen)
{
	const struct qcow2_bitmap *bitmap = c->bitmap;
	uint64_t name_at = AT(extra_data_size) + 4 + (uint64_t)bitmap->entry.extra_data_size;
	uint64_t earlier = Q2_NAME_SET_NEW;

	if (bitmap->entry.name_size == 0)
		complain_value(c, QCOW2_PROBLEM_BITMAP_NAME_EMPTY, AT(name_size), 0, "name_size");
	if (bitmap->entry.name_size > QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES)
		complain_limit(c,
			       (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_NAME_QEMU,
						   .offset_bytes = AT(name_size),
						   .found = bitmap->entry.name_size,
						   .expectation = QCOW2_EXPECT_AT_MOST,
						   .expected = QCOW2_LIMIT_QEMU_BITMAP_NAME_BYTES},
			       "name_size");
	if (!q2_utf8_printable(bitmap->name))
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_NAME_TEXT,
					     .offset_bytes = name_at,
					     .found_text = bitmap->name},
			 "name");
	if (bitmap->name.size > 0 && !bitmap->cut)
		earlier = q2_seen_before(seen, &seen->set, q2_hash(&seen->key, bitmap->name),
					 bitmap->index);
	if (earlier != Q2_NAME_SET_NEW)
		complain(c,
			 (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE,
					     .offset_bytes = name_at,
					     .found_text = bitmap->name},
			 "name");
}

/*
 * The table has an entry for each cluster of bits. If the disk was resized while the bitmap was in
 * use, its size is stale like its bits: a warning.
 */
static void rule_table_size(const struct context *c)
{
	const struct qcow2_bitmap_dir_entry *e = &c->bitmap->entry;
	uint64_t size = e->bitmap_table_size;
	uint64_t most = QCOW2_LIMIT_QEMU_BITMAP_DATA_BYTES >> c->geometry->cluster_bits;
	bool in_use = (e->flags & QCOW2_BITMAP_IN_USE) != 0;
	struct q2_finding finding = {.offset_bytes = AT(bitmap_table_size), .found = size};

	if (most > QCOW2_LIMIT_QEMU_BITMAP_TABLE_ENTRIES)
		most = QCOW2_LIMIT_QEMU_BITMAP_TABLE_ENTRIES;
	if (size == 0 || size > most) {
		finding.id = QCOW2_PROBLEM_BITMAP_TABLE_SIZE_QEMU;
		finding.expectation = size == 0 ? QCOW2_EXPECT_AT_LEAST : QCOW2_EXPECT_AT_MOST;
		finding.expected = size == 0 ? 1 : most;
		complain_limit(c, finding, "bitmap_table_size");
	}
	if (e->granularity_bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX)
		return;
	finding.expected = qcow2_bitmap_table_entries_needed(c->geometry, e->granularity_bits);
	if (size == finding.expected)
		return;
	finding.id =
		in_use ? QCOW2_PROBLEM_BITMAP_TABLE_SIZE_STALE : QCOW2_PROBLEM_BITMAP_TABLE_SIZE;
	finding.expectation = QCOW2_EXPECT_VALUE;
	complain_limit(c, finding, "bitmap_table_size");
}

/* An offset of 0 is aligned, but it is where the header is. */
static void rule_table_place(const struct context *c)
{
	const struct qcow2_bitmap_dir_entry *e = &c->bitmap->entry;
	struct q2_finding finding = {.id = QCOW2_PROBLEM_BITMAP_TABLE_OFFSET,
				     .offset_bytes = AT(bitmap_table_offset),
				     .found = e->bitmap_table_offset,
				     .expectation = QCOW2_EXPECT_MULTIPLE_OF,
				     .expected = c->geometry->cluster_size_bytes};

	if (e->bitmap_table_offset == 0 ||
	    e->bitmap_table_offset % c->geometry->cluster_size_bytes != 0)
		complain_limit(c, finding, "bitmap_table_offset");
	if (q2_passes_end(c->geometry, e->bitmap_table_offset,
			  e->bitmap_table_size * UINT64_C(8))) {
		finding.id = QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END;
		q2_expect_inside(&finding, c->geometry, e->bitmap_table_size * UINT64_C(8));
		complain_limit(c, finding, "bitmap_table_offset");
	}
}

/* Two bitmaps with one table: what one of them stores, the other one shows. */
static void rule_table_shared(const struct context *c, struct q2_names_seen *seen)
{
	const struct qcow2_bitmap_dir_entry *e = &c->bitmap->entry;

	if (e->bitmap_table_offset == 0 || e->bitmap_table_size == 0)
		return;
	/* The offset is its own hash: no two tables have the same. */
	if (q2_seen_before(seen, &seen->tables, e->bitmap_table_offset, c->bitmap->index) !=
	    Q2_NAME_SET_NEW)
		complain_value(c, QCOW2_PROBLEM_BITMAP_TABLE_SHARED, AT(bitmap_table_offset),
			       e->bitmap_table_offset, "bitmap_table_offset");
}

/* Only the first byte that is not zero is told: its value stands for the others. */
static void rule_entry_padding(const struct context *c)
{
	const struct qcow2_bitmap *bitmap = c->bitmap;

	for (size_t i = 0; i < bitmap->padding.size; i++) {
		if (bitmap->padding.data[i] == 0)
			continue;
		complain_limit(c,
			       (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_ENTRY_PADDING,
						   .offset_bytes = bitmap->size_bytes -
								   bitmap->padding.size + i,
						   .found = bitmap->padding.data[i],
						   .expectation = QCOW2_EXPECT_VALUE},
			       "");
		return;
	}
}

void q2_rules_bitmap(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
		     struct q2_names_seen *seen, const struct q2_reporter *reporter)
{
	struct context c = {bitmap, qcow2_image_geometry(image), reporter};

	if (bitmap->cut)
		complain(&c, (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_ENTRY_CUT}, "");
	if (bitmap->raw.size < qcow2_bitmap_dir_entry_structure.size_bytes)
		return; /* the values below were never there */
	rule_flags(&c);
	rule_type(&c);
	rule_name(&c, seen);
	if (c.geometry) {
		rule_table_size(&c);
		rule_table_place(&c);
	}
	rule_table_shared(&c, seen);
	rule_entry_padding(&c);
}

void q2_rules_bitmap_directory(const struct qcow2_image *image,
			       const struct q2_directory_read *read,
			       const struct q2_reporter *reporter)
{
	const struct qcow2_bitmaps_extension *extension = read->extension;
	uint64_t used_bytes = read->used_bytes;
	struct qcow2_extension place;

	/*
	 * An entry that is cut has been told; a directory that ends too early at an entry has not.
	 */
	if (!read->cut && read->entries < extension->nb_bitmaps)
		q2_report(reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_ENTRY_CUT,
					       .offset_bytes = extension->bitmap_directory_offset +
							       used_bytes},
			  "bitmaps/%llu", (unsigned long long)read->entries);
	if (used_bytes == extension->bitmap_directory_size ||
	    !q2_find_extension(image, QCOW2_EXTENSION_BITMAPS, &place))
		return;
	q2_report(reporter,
		  &(struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE,
				       .offset_bytes = place.offset_bytes +
						       sizeof(struct qcow2_extension_header) +
						       offsetof(struct qcow2_bitmaps_extension,
								bitmap_directory_size),
				       .has_found = true,
				       .found = extension->bitmap_directory_size,
				       .expectation = QCOW2_EXPECT_VALUE,
				       .expected = used_bytes},
		  "extensions/%llu/data/bitmap_directory_size", (unsigned long long)place.index);
}
