/* SPDX-License-Identifier: MIT */
/* Walks the bitmap directory: each entry with its extra data, name, table, totals and data. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "walk/lost.h"

/* The most names among which duplicates are found: above QEMU's limit of 65,535 bitmaps. */
#define NAMES_MAX 1000000
/* The most bitmaps among which shared tables are found. */
#define TABLES_MAX 100000

static void walk_name(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap)
{
	uint64_t at = bitmap->offset_bytes + sizeof(struct qcow2_bitmap_dir_entry) +
		      bitmap->entry.extra_data_size;

	q2_walk_label(w, &(struct qcow2_value){.name = "name",
					       .kind = QCOW2_VALUE_TEXT,
					       .style = QCOW2_STYLE_TEXT,
					       .bytes = bitmap->name,
					       .raw = bitmap->name,
					       .offset_bytes = at});
}

static void walk_extra_data(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap)
{
	if (bitmap->extra_data.size > 0)
		q2_walk_bytes(w, "extra_data", false, bitmap->extra_data,
			      bitmap->offset_bytes + sizeof(struct qcow2_bitmap_dir_entry));
	if (bitmap->padding.size > 0 && !q2_walk_over(w)) {
		static const uint8_t zeros[8];

		if (memcmp(bitmap->padding.data, zeros, bitmap->padding.size) != 0)
			q2_walk_bytes(w, "padding", false, bitmap->padding,
				      bitmap->offset_bytes + bitmap->size_bytes -
					      bitmap->padding.size);
	}
}

static void walk_bitmap(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap)
{
	struct q2_placed placed = {bitmap->raw, bitmap->offset_bytes};
	struct qcow2_node node = q2_walk_node(NULL, "Bitmap");

	node.offset_bytes = bitmap->offset_bytes;
	node.offset_key = "offset";
	node.index = bitmap->index;
	q2_walk_begin(w, &node);
	walk_name(w, bitmap);
	q2_walk_fields(w, &qcow2_bitmap_dir_entry_structure, &placed);
	walk_extra_data(w, bitmap);
	if (bitmap->raw.size == sizeof(bitmap->entry) && w->geometry &&
	    !(w->flags & QCOW2_WALK_NO_TABLES)) {
		q2_walk_bitmap_totals(w, bitmap);
		q2_walk_bitmap_table(w, bitmap);
		q2_walk_bitmap_data(w, bitmap);
	}
	q2_walk_end(w, &node);
}

/* Applies the rules to an entry, then walks it if it is wanted. */
static void visit(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap,
		  struct q2_names_seen *seen)
{
	struct q2_step step = {.name = bitmap->name, .index = bitmap->index};

	if (!w->probe)
		q2_rules_bitmap(w->image, bitmap, seen, &w->reporter);
	if (!q2_walk_enter(w, &step))
		return;
	walk_bitmap(w, bitmap);
	q2_walk_leave(w);
}

/* Walks the entries of the directory. Returns how many the budget did not pay for. */
static uint64_t walk_entries(struct q2_walk_state *w, struct qcow2_bitmaps *bitmaps)
{
	struct q2_names_seen seen = {.key = w->hash_key};
	struct q2_directory_read read = {.extension = qcow2_bitmaps_header(bitmaps)};
	const struct qcow2_bitmap *bitmap;
	int more = 1;

	q2_name_set_init(&seen.set, NAMES_MAX);
	q2_name_set_init(&seen.tables, TABLES_MAX);
	while (!q2_walk_over(w) && read.used_bytes <= w->left.directories) {
		more = qcow2_bitmaps_next(bitmaps, &bitmap, w->err);
		if (more <= 0)
			break;
		visit(w, bitmap, &seen);
		read.entries++;
		read.cut = bitmap->cut;
		read.used_bytes = qcow2_bitmaps_used_bytes(bitmaps);
	}
	if (seen.short_of_memory)
		more = q2_fail_memory(w->err);
	if (more < 0)
		q2_walk_fail(w);
	if (more == 0 && !w->probe)
		q2_rules_bitmap_directory(w->image, &read, &w->reporter);
	q2_name_set_release(&seen.set);
	q2_name_set_release(&seen.tables);
	if (read.entries == 0)
		q2_walk_lost_none(w, "this image has no bitmaps");
	return more > 0 && !q2_walk_over(w) ? read.extension->nb_bitmaps - read.entries : 0;
}

void q2_walk_bitmap_directory(struct q2_walk_state *w)
{
	struct qcow2_node list = q2_walk_node("bitmap_directory", NULL);
	struct qcow2_bitmaps *bitmaps = NULL;
	struct qcow2_error reason;
	uint64_t omitted = 0;

	if (!q2_walk_enter_key(w, "bitmap_directory"))
		return;
	q2_walk_begin_list(w, &list);
	if (qcow2_bitmaps_open(w->image, &bitmaps, &reason) == 0) {
		omitted = walk_entries(w, bitmaps);
	} else if (reason.code == QCOW2_ERROR_MEMORY) {
		*w->err = reason;
		q2_walk_fail(w);
	} else { /* the rules of the extension tell why as well */
		q2_walk_lost_none(w, reason.text);
	}
	qcow2_bitmaps_close(bitmaps);
	q2_walk_end_list(w, &list);
	q2_walk_omitted(w, "bitmap_directory-omitted", omitted);
	q2_walk_leave(w);
}
