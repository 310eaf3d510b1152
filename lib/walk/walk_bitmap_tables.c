/* SPDX-License-Identifier: MIT */
/* Walks what is below a bitmap directory entry: totals, table and data. */
#include <qcow2/entry.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/ones.h"
#include "rules/bitmap_tail.h"
#include "walk/lost.h"
#include "walk/rows.h"

/* Bitmap data is shown in pieces of this size, or of a cluster if that is smaller. */
#define PIECE_BYTES 4096

/* The names that qcow2.py gives the kinds of entries. */
static const char *const kind_names[] = {
	[QCOW2_BITMAP_ENTRY_ALL_ZEROES] = "all-zeroes",
	[QCOW2_BITMAP_ENTRY_ALL_ONES] = "all-ones",
	[QCOW2_BITMAP_ENTRY_SERIALIZED] = "serialized",
	[QCOW2_BITMAP_ENTRY_INVALID] = "invalid",
};

static const struct qcow2_column entry_column = {.size = sizeof(entry_column),
						 .name = "entry",
						 .audience = QCOW2_FOR_PROGRAMS,
						 .style = QCOW2_STYLE_HEX},
				 type_column = {.size = sizeof(type_column),
						.name = "type",
						.style = QCOW2_STYLE_TEXT,
						.texts = kind_names,
						.text_count =
							sizeof(kind_names) / sizeof(kind_names[0])},
				 size_column = {.size = sizeof(size_column),
						.name = "size",
						.audience = QCOW2_FOR_PEOPLE,
						.style = QCOW2_STYLE_DECIMAL},
				 offset_column = Q2_NUMBER_COLUMN("offset", QCOW2_STYLE_HEX),
				 reserved_column = {.size = sizeof(reserved_column),
						    .name = "reserved",
						    .audience = QCOW2_FOR_PROGRAMS,
						    .style = QCOW2_STYLE_HEX};
static const struct qcow2_column *const columns[] = {
	&entry_column, &type_column, &size_column, &offset_column, &reserved_column,
};

static void add_table_row(struct q2_walk_state *w, struct q2_walk_rows *rows, uint64_t index,
			  uint64_t entry, bool repeats)
{
	const uint64_t offset = qcow2_bitmap_table_entry_decode(entry).offset;
	uint64_t *values;

	if (w->failed)
		return;
	values = q2_walk_rows_add(w, rows, index, repeats);
	values[0] = entry;
	values[1] = qcow2_bitmap_entry_classify(entry);
	values[2] = offset ? w->geometry->cluster_size_bytes : 0;
	values[3] = offset;
	values[4] = entry & qcow2_bitmap_table_entry_reserved;
}

static void walk_table_row(struct q2_walk_state *w, const struct q2_entry_place *place,
			   const struct qcow2_bytes *raw, bool repeats)
{
	struct qcow2_node row = q2_walk_row(place->index, place->offset_bytes);
	uint64_t entry = q2_load_be64(raw->data);
	uint64_t offset = qcow2_bitmap_table_entry_decode(entry).offset;
	struct qcow2_value reserved = {.name = "reserved",
				       .kind = QCOW2_VALUE_NUMBER,
				       .audience = QCOW2_FOR_PROGRAMS,
				       .style = QCOW2_STYLE_HEX,
				       .number = entry & qcow2_bitmap_table_entry_reserved,
				       .offset_bytes = QCOW2_NO_OFFSET};
	struct qcow2_value whole = {.name = "entry",
				    .kind = QCOW2_VALUE_NUMBER,
				    .audience = QCOW2_FOR_PROGRAMS,
				    .style = QCOW2_STYLE_HEX,
				    .number = entry,
				    .raw = *raw,
				    .offset_bytes = place->offset_bytes};
	struct qcow2_value size = {.name = "size",
				   .kind = QCOW2_VALUE_NUMBER,
				   .audience = QCOW2_FOR_PEOPLE,
				   .style = QCOW2_STYLE_DECIMAL,
				   .number = offset ? w->geometry->cluster_size_bytes : 0,
				   .offset_bytes = QCOW2_NO_OFFSET};

	row.repeats = repeats;
	if (!q2_walk_enter_index(w, place->index))
		return;
	q2_walk_begin(w, &row);
	q2_walk_value(w, &whole);
	q2_walk_text(w, "type", kind_names[qcow2_bitmap_entry_classify(entry)]);
	q2_walk_value(w, &size);
	q2_walk_value(w, &(struct qcow2_value){.name = "offset",
					       .kind = QCOW2_VALUE_NUMBER,
					       .style = QCOW2_STYLE_HEX,
					       .number = offset,
					       .raw = *raw,
					       .offset_bytes = place->offset_bytes});
	q2_walk_value(w, &reserved);
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

/* Stores an entry as it is in the file, big-endian, and views it. */
static struct qcow2_bytes entry_bytes(uint64_t entry, uint8_t out[8])
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(entry >> (56 - 8 * i));
	return (struct qcow2_bytes){out, 8};
}

/* Walks the entries of a bitmap's table. Returns how many the budget did not pay for. */
static uint64_t walk_rows(struct q2_walk_state *w, struct qcow2_table *table,
			  const struct qcow2_bitmap *bitmap, uint64_t count)
{
	char owner[48];
	uint64_t first = 0, last = count, wanted, before = 0;
	struct q2_entry_place place = {.owner = owner};
	struct q2_walk_rows *rows;

	snprintf(owner, sizeof(owner), "bitmaps/%" PRIu64 "/table", bitmap->index);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.bitmap_tables, first, last, 8);
	rows = q2_walk_rows_begin(w, columns, sizeof(columns) / sizeof(columns[0]), last - first);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		uint8_t bytes[8];
		uint64_t entry = 0;
		struct qcow2_bytes raw;

		if (qcow2_table_entry(table, i, &entry, w->err)) {
			q2_walk_fail(w);
			break;
		}
		place.index = i;
		place.offset_bytes = bitmap->entry.bitmap_table_offset + i * 8;
		raw = entry_bytes(entry, bytes);
		if (!w->probe)
			q2_rules_bitmap_table_entry(w->geometry, &place, entry, &w->reporter);
		if (rows)
			add_table_row(w, rows, i, entry, i > first && entry == before);
		else
			walk_table_row(w, &place, &raw, i > first && entry == before);
		before = entry;
	}
	q2_walk_rows_end(w, rows);
	return wanted > last ? wanted - last : 0;
}

void q2_walk_bitmap_table(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap)
{
	struct qcow2_node list = q2_walk_node("bitmap_table", NULL);
	struct qcow2_table *table = q2_walk_table(w);
	uint64_t there, omitted;

	if (!table || !q2_walk_enter_key(w, "bitmap_table"))
		return;
	q2_walk_begin_list(w, &list);
	there = qcow2_table_begin(table, bitmap->entry.bitmap_table_offset,
				  bitmap->entry.bitmap_table_size);
	q2_walk_lost_rows(w, "the bitmap's table", bitmap->entry.bitmap_table_size, there);
	omitted = walk_rows(w, table, bitmap, there);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "bitmap_table-omitted", omitted);
}

static void report_tail(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap,
			const struct qcow2_bitmap_totals *totals)
{
	if (totals->tail_set && !(bitmap->entry.flags & QCOW2_BITMAP_IN_USE) && !w->probe)
		q2_report_bitmap_tail(
			&w->reporter, bitmap->index,
			(struct q2_finding){.offset_bytes = totals->tail_offset_bytes});
}

static void tell_totals(struct q2_walk_state *w, const struct qcow2_bitmap_totals *totals)
{
	q2_walk_number(w, "serialized-entries", QCOW2_STYLE_DECIMAL, totals->serialized_entries);
	q2_walk_number(w, "all-zeroes-entries", QCOW2_STYLE_DECIMAL, totals->all_zeroes_entries);
	q2_walk_number(w, "all-ones-entries", QCOW2_STYLE_DECIMAL, totals->all_ones_entries);
	q2_walk_number(w, "disk-bytes", QCOW2_STYLE_SIZE, totals->disk_bytes);
	q2_walk_number(w, "bits", QCOW2_STYLE_DECIMAL, totals->bits);
	q2_walk_number(w, "bits-set", QCOW2_STYLE_DECIMAL, totals->bits_set);
	q2_walk_number(w, "dirty-bytes", QCOW2_STYLE_SIZE, totals->dirty_bytes);
}

/* Tells why a bitmap could not be added up. Only a failure of the system ends the walk. */
static void tell_no_totals(struct q2_walk_state *w, const struct qcow2_error *reason)
{
	if (reason->code == QCOW2_ERROR_IO || reason->code == QCOW2_ERROR_MEMORY) {
		*w->err = *reason;
		q2_walk_fail(w);
		return;
	}
	q2_walk_null(w, "bits-set");
	q2_walk_null(w, "dirty-bytes");
	q2_walk_text(w, "not-counted", reason->text);
}

static void spend(uint64_t *left, uint64_t used)
{
	*left -= used < *left ? used : *left;
}

void q2_walk_bitmap_totals(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap)
{
	struct qcow2_node node = q2_walk_node("totals", NULL);
	struct qcow2_bitmap_totals totals = {0};
	struct qcow2_error reason;

	if (!q2_walk_enter_key(w, "totals"))
		return;
	q2_walk_begin(w, &node);
	if (w->probe) {
		tell_totals(w, &totals);
	} else if (qcow2_bitmap_count(w->image, &bitmap->entry, w->left.counted, &totals,
				      &reason) == 0) {
		spend(&w->left.counted, totals.disk_bytes);
		tell_totals(w, &totals);
		report_tail(w, bitmap, &totals);
	} else {
		if (totals.serialized_entries > 0) /* data was read before the count failed */
			spend(&w->left.counted, totals.disk_bytes);
		tell_no_totals(w, &reason);
	}
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

/*
 * Tells piece `index` of the bitmap's data, which lies at offset: which bits it holds, and its
 * bytes.
 */
static void walk_piece(struct q2_walk_state *w, struct qcow2_bytes bytes, uint64_t offset,
		       uint64_t index)
{
	struct qcow2_node row = q2_walk_row(index, offset);

	row.offset_key = "offset";
	row.title = "Bitmap data";
	row.layout = QCOW2_LAYOUT_BLOCK;
	if (!q2_walk_enter_index(w, index))
		return;
	q2_walk_begin(w, &row);
	q2_walk_number(w, "first-bit", QCOW2_STYLE_DECIMAL, index * PIECE_BYTES * 8);
	q2_walk_number(w, "bits-set", QCOW2_STYLE_DECIMAL, q2_count_ones(bytes.data, bytes.size));
	q2_walk_bytes(w, "bytes", false, bytes, offset);
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

/*
 * Walks the pieces of the data cluster at host offset `start`, which entry `index` leads to, as far
 * as the file has them. Returns false if the budget is used up.
 */
static bool walk_cluster(struct q2_walk_state *w, uint64_t start, uint64_t index, uint8_t *buffer)
{
	uint64_t file_size = w->geometry->file_size_bytes;
	uint64_t cluster = w->geometry->cluster_size_bytes;
	uint64_t piece = cluster < PIECE_BYTES ? cluster : PIECE_BYTES;
	uint64_t first = index * (cluster / piece), last = first + cluster / piece;
	uint64_t low = first, high = last;

	q2_selection_narrow(w->selection, &low, &high);
	for (uint64_t i = low; i < high && !q2_walk_over(w); i++) {
		uint64_t at = start + (i - first) * piece;
		uint64_t size = piece;

		if (start == 0 || at >= file_size)
			return true;
		if (size > file_size - at)
			size = file_size - at;
		if (size > w->left.bitmap_data)
			return false;
		w->left.bitmap_data -= size;
		if (!w->probe && qcow2_source_read(qcow2_image_source(w->image), at, buffer,
						   (size_t)size, w->err)) {
			q2_walk_fail(w);
			return true;
		}
		walk_piece(w, (struct qcow2_bytes){buffer, (size_t)size}, at, i);
	}
	return true;
}

static uint64_t pieces_per_cluster(const struct q2_walk_state *w)
{
	uint64_t cluster = w->geometry->cluster_size_bytes;

	return cluster < PIECE_BYTES ? 1 : cluster / PIECE_BYTES;
}

/* Follows count entries of a table to their data. Returns how many the budget did not pay for. */
static uint64_t walk_data_clusters(struct q2_walk_state *w, struct qcow2_table *table,
				   uint64_t count)
{
	uint64_t pieces = pieces_per_cluster(w), low = 0, high = count * pieces, last;
	uint8_t buffer[PIECE_BYTES] = {0};

	q2_selection_narrow(w->selection, &low, &high);
	low /= pieces;
	count = (high + pieces - 1) / pieces;
	last = q2_walk_afford(&w->left.followed, low, count, 8);
	for (uint64_t i = low; i < last && !q2_walk_over(w); i++) {
		uint64_t entry = 0, offset;

		if (qcow2_table_entry(table, i, &entry, w->err))
			q2_walk_fail(w);
		offset = qcow2_bitmap_table_entry_decode(entry).offset;
		if (offset != 0 && !walk_cluster(w, offset, i, buffer))
			return count - i;
	}
	return last < count ? count - last : 0;
}

void q2_walk_bitmap_data(struct q2_walk_state *w, const struct qcow2_bitmap *bitmap)
{
	struct qcow2_node list = q2_walk_node("data", NULL);
	struct qcow2_table *table = q2_walk_table(w);
	uint64_t count, omitted;

	if (!table || !q2_walk_enter_bulk(w, "data"))
		return;
	q2_walk_begin_list(w, &list);
	count = qcow2_table_begin(table, bitmap->entry.bitmap_table_offset,
				  bitmap->entry.bitmap_table_size);
	omitted = walk_data_clusters(w, table, count);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "data-omitted", omitted);
}
