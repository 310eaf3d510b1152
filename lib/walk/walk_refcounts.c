/* SPDX-License-Identifier: MIT */
/* Walks the refcount table and the refcount blocks, of every width. */
#include <qcow2/entry.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "walk/lost.h"
#include "walk/rows.h"

static const struct qcow2_column entry_column = Q2_NUMBER_COLUMN("entry", QCOW2_STYLE_HEX),
				 offset_column = Q2_NUMBER_COLUMN("offset", QCOW2_STYLE_HEX),
				 host_column = Q2_NUMBER_COLUMN("host", QCOW2_STYLE_HEX),
				 refcount_column =
					 Q2_NUMBER_COLUMN("refcount", QCOW2_STYLE_DECIMAL);
static const struct qcow2_column *const table_columns[] = {&entry_column, &offset_column};
static const struct qcow2_column *const count_columns[] = {&host_column, &refcount_column};
#define COLUMNS 2 /* of both */

static uint64_t table_entries(const struct q2_walk_state *w)
{
	return (uint64_t)w->header->refcount_table_clusters << (w->geometry->cluster_bits - 3);
}

static void walk_table_row(struct q2_walk_state *w, const struct q2_entry_place *place,
			   uint64_t entry, bool repeats)
{
	struct qcow2_node row = q2_walk_row(place->index, place->offset_bytes);

	row.repeats = repeats;
	if (!q2_walk_enter_index(w, place->index))
		return;
	q2_walk_begin(w, &row);
	q2_walk_entry(w, entry, place->offset_bytes);
	q2_walk_number(w, "offset", QCOW2_STYLE_HEX,
		       qcow2_refcount_table_entry_decode(entry).offset);
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

struct pair {
	uint64_t first, second;
};

/* Adds a row of two columns, unless the walk is over. */
static inline void add_pair(struct q2_walk_state *w, struct q2_walk_rows *rows, uint64_t index,
			    bool repeats, struct pair pair)
{
	uint64_t *values;

	if (w->failed)
		return;
	values = q2_walk_rows_add(w, rows, index, repeats);
	values[0] = pair.first;
	values[1] = pair.second;
}

void q2_walk_refcount_table(struct q2_walk_state *w)
{
	struct qcow2_node list = q2_walk_node("refcount_table", "Refcount table");
	struct q2_entry_place place = {.owner = "refcount_table"};
	struct qcow2_table *table = q2_walk_table(w);
	uint64_t first = 0, last, wanted, before = 0;
	struct q2_walk_rows *rows;

	if (!w->geometry || !table || !q2_walk_enter_bulk(w, "refcount_table"))
		return;
	list.offset_bytes = w->header->refcount_table_offset;
	q2_walk_begin_list(w, &list);
	last = qcow2_table_begin(table, list.offset_bytes, table_entries(w));
	q2_walk_lost_rows(w, "the refcount table", table_entries(w), last);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.tables, first, last, 8);
	rows = q2_walk_rows_begin(w, table_columns, COLUMNS, last - first);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		uint64_t entry = 0;

		if (qcow2_table_entry(table, i, &entry, w->err)) {
			q2_walk_fail(w);
			break;
		}
		place.index = i;
		place.offset_bytes = list.offset_bytes + i * 8;
		if (!w->probe)
			q2_rules_refcount_table_entry(w->geometry, &place, entry, &w->reporter);
		if (rows)
			add_pair(w, rows, i, i > first && entry == before,
				 (struct pair){entry,
					       qcow2_refcount_table_entry_decode(entry).offset});
		else
			walk_table_row(w, &place, entry, i > first && entry == before);
		before = entry;
	}
	q2_walk_rows_end(w, rows);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "refcount_table-omitted", wanted > last ? wanted - last : 0);
}

/* A refcount: where it is, the cluster that it counts, and how often. */
struct count {
	uint64_t index; /* in its block */
	uint64_t offset_bytes;
	uint64_t host_byte;
	uint64_t count;
	bool repeats;
};

static void walk_count(struct q2_walk_state *w, const struct count *c)
{
	unsigned bits = w->geometry->refcount_bits;
	struct qcow2_node row = q2_walk_row(c->index, QCOW2_NO_OFFSET);
	struct qcow2_value value = {
		.name = "refcount",
		.kind = QCOW2_VALUE_NUMBER,
		.style = QCOW2_STYLE_DECIMAL,
		.number = c->count,
		.offset_bytes = c->offset_bytes,
	};
	uint8_t bytes[8];

	if (!q2_walk_enter_index(w, c->index))
		return;
	/* A byte that several refcounts share is not told as the bytes of one of them: pages for
	 * people join rows of equal refcounts, and their bytes may differ. */
	if (bits >= 8) {
		qcow2_refcount_put(bytes, 0, bits, c->count);
		value.raw = (struct qcow2_bytes){bytes, bits / 8};
	}
	row.repeats = c->repeats;
	q2_walk_begin(w, &row);
	q2_walk_number(w, "host", QCOW2_STYLE_HEX, c->host_byte);
	q2_walk_value(w, &value);
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

/*
 * Walks the refcounts of block `index`, which lies at offset. Returns how many of them the budget
 * did not pay for.
 */
static uint64_t walk_counts(struct q2_walk_state *w, struct qcow2_table *block, uint64_t index,
			    uint64_t offset)
{
	const struct qcow2_geometry *geometry = w->geometry;
	uint64_t words = qcow2_table_begin(block, offset, geometry->cluster_size_bytes / 8);
	uint64_t first = 0, last = words * 64 / geometry->refcount_bits, before = 0;
	struct q2_walk_rows *rows;
	uint64_t wanted;

	q2_walk_lost_rows(w, "a refcount block", geometry->refcount_block_entries, last);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.refcount_bits, first, last, geometry->refcount_bits);
	rows = q2_walk_rows_begin(w, count_columns, COLUMNS, last - first);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		struct count c = {
			.index = i,
			.offset_bytes = offset + i * geometry->refcount_bits / 8,
			.host_byte = (index * geometry->refcount_block_entries + i)
				     << geometry->cluster_bits,
		};

		/* A probe only asks for names, so that no refcount needs to be read. */
		if (!w->probe && qcow2_table_refcount(block, i, &c.count, w->err)) {
			q2_walk_fail(w);
			break;
		}
		c.repeats = i > first && c.count == before;
		if (rows)
			add_pair(w, rows, i, c.repeats, (struct pair){c.host_byte, c.count});
		else
			walk_count(w, &c);
		before = c.count;
	}
	q2_walk_rows_end(w, rows);
	return wanted > last ? wanted - last : 0;
}

static void walk_block(struct q2_walk_state *w, struct qcow2_table *block, uint64_t index,
		       uint64_t offset)
{
	struct qcow2_node node, list = q2_walk_node("entries", NULL);
	uint64_t omitted;

	node = q2_walk_node(NULL, "Refcount block");
	node.index = index;
	node.offset_bytes = offset;
	node.offset_key = "offset";
	if (!q2_walk_enter_index(w, index))
		return;
	q2_walk_begin(w, &node);
	if (q2_walk_enter_key(w, "entries")) {
		q2_walk_begin_list(w, &list);
		omitted = walk_counts(w, block, index, offset);
		q2_walk_end_list(w, &list);
		q2_walk_leave(w);
		q2_walk_omitted(w, "entries-omitted", omitted);
	}
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

void q2_walk_refcounts(struct q2_walk_state *w)
{
	struct qcow2_node list = q2_walk_node("refcounts", NULL);
	struct qcow2_table *table = NULL, *block = NULL;
	uint64_t first = 0, last = 0, wanted;

	if (!w->geometry || !q2_walk_enter_bulk(w, "refcounts"))
		return;
	q2_walk_begin_list(w, &list);
	if (qcow2_table_open(w->image, &table, w->err) ||
	    qcow2_table_open(w->image, &block, w->err))
		q2_walk_fail(w);
	else
		last = qcow2_table_begin(table, w->header->refcount_table_offset, table_entries(w));
	if (last < table_entries(w))
		q2_walk_lost_rows(w, "the refcount table", table_entries(w), last);
	q2_walk_lost_targets(w, "the refcount table", "refcount table entry", last);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.tables, first, last, 8);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		uint64_t entry = 0, offset;

		if (qcow2_table_entry(table, i, &entry, w->err))
			q2_walk_fail(w);
		offset = qcow2_refcount_table_entry_decode(entry).offset;
		if (offset != 0)
			walk_block(w, block, i, offset);
	}
	qcow2_table_close(table);
	qcow2_table_close(block);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "refcounts-omitted", wanted > last ? wanted - last : 0);
}
