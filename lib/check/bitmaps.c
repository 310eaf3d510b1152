/* SPDX-License-Identifier: MIT */
/* The bitmap directory, every bitmap by itself: rules, tables, data, bits past the end. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "check/internal.h"
#include "rules/bitmap_tail.h"

/* How many different names and tables duplicates are looked for among. */
#define NAMES_MAX  1000000
#define TABLES_MAX 1000000
/* What holes may add to what the file stores before the rest of tables is not looked at. */
#define SLACK_BYTES (UINT64_C(1) << 20)

/* One visit to the directory. */
struct visit {
	struct qcow2_check *check;
	struct qcow2_table *table;
	struct q2_names_seen seen;
	uint64_t table_bytes_left; /* of tables that share their places, only so much is followed */
};

static bool claim(const struct visit *visit, enum q2_part part, uint64_t offset, uint64_t length,
		  const struct q2_entry_place *place)
{
	return visit->check->claim(visit->check,
				   &(struct q2_claim){.offset_bytes = offset,
						      .length_bytes = length,
						      .use = Q2_USE_METADATA,
						      .weight = 1,
						      .part = part,
						      .list = place ? place->guest_byte : 0,
						      .index = place ? place->index : 0});
}

/* One entry of a bitmap's table. */
static int visit_entry(const struct visit *visit, const struct qcow2_bitmap *bitmap,
		       const struct q2_entry_place *place, uint64_t needed)
{
	const struct qcow2_geometry *geometry = visit->check->geometry;
	uint64_t entry, offset;
	struct q2_entry_place part = *place;

	if (qcow2_table_entry(visit->table, place->index, &entry, visit->check->err))
		return -1;
	q2_check_digest_word(&visit->check->workers[0], place->offset_bytes, entry);
	if (entry == 0 || entry == 1)
		return 0;
	offset = entry & Q2_OFFSET_MASK;
	q2_rules_bitmap_table_entry(geometry, place, entry, &visit->check->reporter);
	part.guest_byte = bitmap->index;
	if (offset != 0 && offset < geometry->file_size_bytes &&
	    !claim(visit, Q2_PART_BITMAP_DATA, offset, geometry->cluster_size_bytes, &part))
		return -1;
	/* The bits of a bitmap in use may be stale, and those past its end with them. */
	if (offset == 0 || place->index + 1 != needed || visit->check->naming ||
	    (bitmap->entry.flags & QCOW2_BITMAP_IN_USE))
		return 0;
	return q2_rule_bitmap_tail(visit->check->image, bitmap, offset,
				   visit->check->workers[0].buffer, &visit->check->reporter,
				   visit->check->err);
}

static int visit_table(struct visit *visit, const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_geometry *geometry = visit->check->geometry;
	const struct qcow2_bitmap_dir_entry *e = &bitmap->entry;
	struct q2_entry_place place = {.guest_byte = bitmap->index};
	uint64_t entries, needed;
	char owner[64];

	if (!claim(visit, Q2_PART_BITMAP_TABLE, e->bitmap_table_offset,
		   e->bitmap_table_size * UINT64_C(8), &place))
		return -1;
	entries = qcow2_table_begin(visit->table, e->bitmap_table_offset, e->bitmap_table_size);
	if (entries > visit->table_bytes_left / 8) {
		entries = visit->table_bytes_left / 8;
		visit->check->digest_is_cut = true;
	}
	visit->table_bytes_left -= entries * 8;
	needed = e->granularity_bits > 63
			 ? 0
			 : qcow2_bitmap_table_entries_needed(geometry, e->granularity_bits);
	snprintf(owner, sizeof(owner), "bitmaps/%llu/table", (unsigned long long)bitmap->index);
	place.owner = owner;
	for (uint64_t i = 0; i < entries; i++) {
		place.index = i;
		place.offset_bytes = e->bitmap_table_offset + i * 8;
		if (visit_entry(visit, bitmap, &place, needed))
			return -1;
	}
	return 0;
}

static int visit_directory(struct visit *visit, struct qcow2_bitmaps *bitmaps)
{
	struct qcow2_check *check = visit->check;
	struct q2_directory_read read = {.extension = qcow2_bitmaps_header(bitmaps)};
	uint64_t most = visit->table_bytes_left;
	struct qcow2_bitmap bitmap;
	int more = 1;

	while (read.used_bytes <= most) {
		more = qcow2_bitmaps_next(bitmaps, &bitmap, check->err);
		if (more <= 0)
			break;
		q2_check_digest_bitmap(&check->workers[0], &bitmap);
		q2_rules_bitmap(check->image, &bitmap, &visit->seen, &check->reporter);
		if (bitmap.raw.size == qcow2_bitmap_dir_entry_structure.size_bytes &&
		    visit_table(visit, &bitmap))
			return -1;
		read.entries++;
		read.cut = bitmap.cut;
		read.used_bytes = qcow2_bitmaps_used_bytes(bitmaps);
	}
	check->digest_is_cut |= more > 0;
	if (visit->seen.short_of_memory)
		return q2_fail_memory(check->err);
	if (more == 0)
		q2_rules_bitmap_directory(check->image, &read, &check->reporter);
	return more < 0 ? -1 : 0;
}

int q2_check_bitmaps(struct qcow2_check *check)
{
	struct visit visit = {
		.check = check,
		.seen = {.key = check->hash_key},
		.table_bytes_left = qcow2_source_allocated_bytes(qcow2_image_source(check->image)) +
				    SLACK_BYTES,
	};
	const struct qcow2_bitmaps_extension *extension;
	struct qcow2_bitmaps *bitmaps = NULL;
	int result = -1;

	/* QEMU and the specification ignore inconsistent bitmaps; the extension's rules say so. */
	if (!(check->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	if (qcow2_bitmaps_open(check->image, &bitmaps, check->err))
		return check->err->code == QCOW2_ERROR_MEMORY ? -1 : 0; /* the rules said why */
	extension = qcow2_bitmaps_header(bitmaps);
	q2_name_set_init(&visit.seen.set, NAMES_MAX);
	q2_name_set_init(&visit.seen.tables, TABLES_MAX);
	if (qcow2_table_new(check->image, &visit.table, check->err) == 0 &&
	    claim(&visit, Q2_PART_BITMAPS, extension->bitmap_directory_offset,
		  extension->bitmap_directory_size, NULL))
		result = visit_directory(&visit, bitmaps);
	q2_name_set_release(&visit.seen.set);
	q2_name_set_release(&visit.seen.tables);
	qcow2_table_free(visit.table);
	qcow2_bitmaps_close(bitmaps);
	return result;
}
