/* SPDX-License-Identifier: MIT */
/* Walks L1 tables: the active one, and those of snapshots for walk_snapshots.c. */
#include <qcow2/entry.h>

#include "walk/lost.h"
#include "walk/rows.h"

static const struct qcow2_column entry_column = Q2_NUMBER_COLUMN("entry", QCOW2_STYLE_HEX),
				 offset_column = Q2_NUMBER_COLUMN("offset", QCOW2_STYLE_HEX),
				 copied_column = Q2_NUMBER_COLUMN("copied", QCOW2_STYLE_DECIMAL);
static const struct qcow2_column *const columns[] = {&entry_column, &offset_column, &copied_column};

static void walk_l1_row(struct q2_walk_state *w, const struct q2_entry_place *place, uint64_t entry,
			bool repeats)
{
	const struct qcow2_l1_entry fields = qcow2_l1_entry_decode(entry);
	struct qcow2_node row = q2_walk_row(place->index, place->offset_bytes);

	row.repeats = repeats;
	if (!q2_walk_enter_index(w, place->index))
		return;
	q2_walk_begin(w, &row);
	q2_walk_entry(w, entry, place->offset_bytes);
	q2_walk_number(w, "offset", QCOW2_STYLE_HEX, fields.offset);
	q2_walk_number(w, "copied", QCOW2_STYLE_DECIMAL, fields.copied);
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

static void add_l1_row(struct q2_walk_state *w, struct q2_walk_rows *rows, uint64_t index,
		       uint64_t entry, bool repeats)
{
	const struct qcow2_l1_entry fields = qcow2_l1_entry_decode(entry);
	uint64_t *values;

	if (w->failed)
		return;
	values = q2_walk_rows_add(w, rows, index, repeats);
	values[0] = entry;
	values[1] = fields.offset;
	values[2] = fields.copied;
}

uint64_t q2_walk_l1_rows(struct q2_walk_state *w, const struct q2_walk_l1 *l1)
{
	struct qcow2_table *table = q2_walk_table(w);
	struct q2_entry_place place = {.owner = l1->path, .disk = l1->disk};
	uint64_t first = 0, last, wanted, before = 0;
	struct q2_walk_rows *rows;

	if (!table)
		return 0;
	last = qcow2_table_begin(table, l1->offset_bytes, l1->entries);
	q2_walk_lost_rows(w, "the L1 table", l1->entries, last);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.tables, first, last, 8);
	rows = q2_walk_rows_begin(w, columns, sizeof(columns) / sizeof(columns[0]), last - first);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		uint64_t entry = 0;

		if (qcow2_table_entry(table, i, &entry, w->err)) {
			q2_walk_fail(w);
			break;
		}
		place.index = i;
		place.offset_bytes = l1->offset_bytes + i * 8;
		if (!w->probe)
			q2_rules_l1_entry(w->geometry, &place, entry, &w->reporter);
		if (rows)
			add_l1_row(w, rows, i, entry, i > first && entry == before);
		else
			walk_l1_row(w, &place, entry, i > first && entry == before);
		before = entry;
	}
	q2_walk_rows_end(w, rows);
	return wanted > last ? wanted - last : 0;
}

void q2_walk_l1(struct q2_walk_state *w)
{
	const struct q2_disk disk = {.size_bytes = w->header->size};
	const struct q2_walk_l1 l1 = {"l1", w->header->l1_table_offset, w->header->l1_size, &disk};
	struct qcow2_node list = q2_walk_node("l1", "L1 table");
	uint64_t omitted;

	if (!w->geometry || !q2_walk_enter_bulk(w, "l1"))
		return;
	list.offset_bytes = w->header->l1_table_offset;
	q2_walk_begin_list(w, &list);
	omitted = q2_walk_l1_rows(w, &l1);
	q2_walk_end_list(w, &list);
	q2_walk_leave(w);
	q2_walk_omitted(w, "l1-omitted", omitted);
}
