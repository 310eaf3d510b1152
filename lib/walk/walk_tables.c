/* SPDX-License-Identifier: MIT */
/* Walks L1 tables and the L2 tables of the active image, each distinct L2 table once. */
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "base/hash.h"
#include "walk/internal.h"

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define COPIED_BIT  63
#define COMPRESSED  (UINT64_C(1) << 62)
/* So many different L2 tables are told apart from shared ones: 2^20 of them fill 16 MiB. */
#define TABLES_MAX (UINT64_C(1) << 20)

/* The entry as it is, with its place and bytes; its parts follow as derived values. */
static void walk_entry(struct qcow2_walk_state *w, const char *name, uint64_t entry,
		       uint64_t offset_bytes)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(entry >> (56 - 8 * i));
	qcow2_walk_value(w, &(struct qcow2_value){.name = name,
						  .kind = QCOW2_VALUE_NUMBER,
						  .style = QCOW2_STYLE_HEX,
						  .number = entry,
						  .raw = {bytes, sizeof(bytes)},
						  .offset_bytes = offset_bytes});
}

static void walk_l1_row(struct qcow2_walk_state *w, const struct qcow2_entry_place *place,
			uint64_t entry, bool repeats)
{
	struct qcow2_node row =
		qcow2_walk_row(&qcow2_l1_entry_structure, place->index, place->offset_bytes);

	row.repeats = repeats;
	if (!qcow2_walk_enter_index(w, place->index))
		return;
	qcow2_walk_begin(w, &row);
	walk_entry(w, "entry", entry, place->offset_bytes);
	qcow2_walk_number(w, "offset", QCOW2_STYLE_HEX, entry & OFFSET_MASK);
	qcow2_walk_number(w, "copied", QCOW2_STYLE_DECIMAL, entry >> COPIED_BIT);
	qcow2_walk_end(w, &row);
	qcow2_walk_leave(w);
}

uint64_t qcow2_walk_l1_rows(struct qcow2_walk_state *w, const char *owner, uint64_t offset_bytes,
			    uint64_t entries)
{
	struct qcow2_table *table = qcow2_walk_table(w);
	struct qcow2_entry_place place = {.owner = owner};
	uint64_t first = 0, last, wanted, before = 0;

	if (!table)
		return 0;
	last = qcow2_table_begin(table, offset_bytes, entries);
	qcow2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = qcow2_walk_afford(&w->left.tables, first, last, 8);
	for (uint64_t i = first; i < last && !qcow2_walk_over(w); i++) {
		uint64_t entry = 0;

		if (qcow2_table_entry(table, i, &entry, w->err)) {
			qcow2_walk_fail(w);
			break;
		}
		place.index = i;
		place.offset_bytes = offset_bytes + i * 8;
		if (!w->probe)
			qcow2_rules_l1_entry(w->geometry, &place, entry, &w->reporter);
		walk_l1_row(w, &place, entry, i > first && entry == before);
		before = entry;
	}
	return wanted > last ? wanted - last : 0;
}

void qcow2_walk_l1(struct qcow2_walk_state *w)
{
	struct qcow2_node list = qcow2_walk_node("l1", "L1 table");
	uint64_t omitted;

	if (!w->geometry || !qcow2_walk_enter_bulk(w, "l1"))
		return;
	list.offset_bytes = w->header->l1_table_offset;
	qcow2_walk_begin_list(w, &list);
	omitted = qcow2_walk_l1_rows(w, "l1", w->header->l1_table_offset, w->header->l1_size);
	qcow2_walk_end_list(w, &list);
	qcow2_walk_leave(w);
	qcow2_walk_omitted(w, "l1_omitted", omitted);
}

/* What an L2 entry means for the guest, in a word. */
static const char *kind_of(const struct qcow2_walk_state *w, uint64_t entry)
{
	bool placed =
		(entry & OFFSET_MASK) != 0 || (w->geometry->data_file && entry >> COPIED_BIT != 0);

	if (entry & COMPRESSED)
		return "compressed";
	if (!w->geometry->extended_l2 && (entry & 1))
		return placed ? "zero-allocated" : "zero";
	return placed ? "data" : "unallocated";
}

/* One L2 entry: the entry, what it says, and for extended ones its subclusters. */
struct l2_row {
	struct qcow2_entry_place place;
	uint64_t entry;
	uint64_t subclusters;
	bool repeats; /* the same as the entry before it */
};

static void walk_l2_row(struct qcow2_walk_state *w, const struct l2_row *l2)
{
	const struct qcow2_geometry *geometry = w->geometry;
	bool compressed = (l2->entry & COMPRESSED) != 0;
	uint64_t low = (UINT64_C(1) << geometry->compressed_offset_bits) - 1;
	struct qcow2_node row = qcow2_walk_row(compressed ? &qcow2_l2_compressed_structure
							  : &qcow2_l2_entry_structure,
					       l2->place.index, l2->place.offset_bytes);

	row.repeats = l2->repeats;
	if (!qcow2_walk_enter_index(w, l2->place.index))
		return;
	qcow2_walk_begin(w, &row);
	walk_entry(w, "entry", l2->entry, l2->place.offset_bytes);
	qcow2_walk_number(w, "guest", QCOW2_STYLE_HEX, l2->place.guest_byte);
	qcow2_walk_text(w, "type", kind_of(w, l2->entry));
	qcow2_walk_number(w, "offset", QCOW2_STYLE_HEX,
			  l2->entry & (compressed ? low : OFFSET_MASK));
	qcow2_walk_number(w, "sectors", QCOW2_STYLE_DECIMAL,
			  compressed ? ((l2->entry & ~(UINT64_C(3) << 62)) >>
					geometry->compressed_offset_bits) +
					       1
				     : 0);
	qcow2_walk_number(w, "copied", QCOW2_STYLE_DECIMAL, l2->entry >> COPIED_BIT);
	if (geometry->extended_l2) {
		qcow2_walk_number(w, "allocated", QCOW2_STYLE_HEX, l2->subclusters & UINT32_MAX);
		qcow2_walk_number(w, "zeroes", QCOW2_STYLE_HEX, l2->subclusters >> 32);
	}
	qcow2_walk_end(w, &row);
	qcow2_walk_leave(w);
}

/* Loads entry i of the L2 table that the reader is at; extended entries are two words. */
static bool load_l2(struct qcow2_walk_state *w, struct qcow2_table *table, uint64_t i,
		    struct l2_row *l2)
{
	unsigned words = w->geometry->l2_entry_bytes / 8;
	struct l2_row before = *l2;

	l2->subclusters = 0;
	if (qcow2_table_entry(table, i * words, &l2->entry, w->err) ||
	    (words == 2 && qcow2_table_entry(table, i * 2 + 1, &l2->subclusters, w->err))) {
		qcow2_walk_fail(w);
		return false;
	}
	l2->repeats = l2->entry == before.entry && l2->subclusters == before.subclusters;
	return true;
}

/* Returns how many rows there was no budget for. */
static uint64_t walk_l2_rows(struct qcow2_walk_state *w, struct qcow2_table *table,
			     uint64_t l1_index, uint64_t offset)
{
	unsigned words = w->geometry->l2_entry_bytes / 8;
	uint64_t first = 0, wanted;
	uint64_t last = qcow2_table_begin(table, offset, w->geometry->l2_entries * words) / words;
	char owner[32];
	struct l2_row l2 = {.place = {.owner = owner}};

	snprintf(owner, sizeof(owner), "l2/%" PRIu64, l1_index);
	qcow2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = qcow2_walk_afford(&w->left.tables, first, last, w->geometry->l2_entry_bytes);
	for (uint64_t i = first; i < last && !qcow2_walk_over(w); i++) {
		if (!load_l2(w, table, i, &l2))
			return 0;
		l2.repeats = l2.repeats && i > first;
		l2.place.index = i;
		l2.place.offset_bytes = offset + i * w->geometry->l2_entry_bytes;
		l2.place.guest_byte = (l1_index * w->geometry->l2_entries + i)
				      << w->geometry->cluster_bits;
		if (!w->probe)
			qcow2_rules_l2_entry(w->image, &l2.place, l2.entry, l2.subclusters,
					     &w->reporter);
		walk_l2_row(w, &l2);
	}
	return wanted > last ? wanted - last : 0;
}

/* Where the walk over L2 tables is: two readers, and the tables that were shown already. */
struct l2_walk {
	struct qcow2_table *l1;
	struct qcow2_table *l2;
	struct qcow2_name_set shown;
};

/* The index of the L1 entry that led to this table before, or QCOW2_NAME_SET_NEW. */
static uint64_t shown_before(struct l2_walk *l2, uint64_t offset, uint64_t l1_index)
{
	uint64_t earlier = QCOW2_NAME_SET_NEW;

	/* The offset is its own hash: no two tables have the same. A full set shows tables again.
	 */
	(void)qcow2_name_set_insert(&l2->shown, offset, l1_index, &earlier);
	return earlier;
}

static void walk_l2_table(struct qcow2_walk_state *w, struct l2_walk *l2, uint64_t index,
			  uint64_t offset)
{
	struct qcow2_node node, list = qcow2_walk_node("entries", NULL);
	uint64_t earlier;

	node = qcow2_walk_node(NULL, "L2 table");
	node.index = index;
	node.offset_bytes = offset;
	node.offset_key = "offset";
	if (!qcow2_walk_enter_index(w, index))
		return;
	earlier = shown_before(l2, offset, index);
	qcow2_walk_begin(w, &node);
	if (earlier != QCOW2_NAME_SET_NEW)
		qcow2_walk_number(w, "same_as", QCOW2_STYLE_DECIMAL, earlier);
	/* A probe looks at it again: a selector may name what another's table has shown. */
	if ((earlier == QCOW2_NAME_SET_NEW || w->probe) && qcow2_walk_enter_key(w, "entries")) {
		uint64_t omitted;

		qcow2_walk_begin_list(w, &list);
		omitted = walk_l2_rows(w, l2->l2, index, offset);
		qcow2_walk_end_list(w, &list);
		qcow2_walk_leave(w);
		qcow2_walk_omitted(w, "entries_omitted", omitted);
	}
	qcow2_walk_end(w, &node);
	qcow2_walk_leave(w);
}

/* Returns how many entries of the L1 table there was no budget to follow. */
static uint64_t walk_l2_tables(struct qcow2_walk_state *w, struct l2_walk *l2)
{
	uint64_t first = 0, wanted;
	uint64_t last = qcow2_table_begin(l2->l1, w->header->l1_table_offset, w->header->l1_size);

	qcow2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = qcow2_walk_afford(&w->left.tables, first, last, 8);
	for (uint64_t i = first; i < last && !qcow2_walk_over(w); i++) {
		uint64_t entry = 0;

		if (qcow2_table_entry(l2->l1, i, &entry, w->err))
			qcow2_walk_fail(w);
		else if (entry & OFFSET_MASK)
			walk_l2_table(w, l2, i, entry & OFFSET_MASK);
	}
	return wanted > last ? wanted - last : 0;
}

void qcow2_walk_l2(struct qcow2_walk_state *w)
{
	struct qcow2_node list = qcow2_walk_node("l2", NULL);
	struct l2_walk l2 = {0};
	uint64_t omitted = 0;

	if (!w->geometry || !qcow2_walk_enter_bulk(w, "l2"))
		return;
	qcow2_name_set_init(&l2.shown, TABLES_MAX);
	qcow2_walk_begin_list(w, &list);
	if (qcow2_table_new(w->image, &l2.l1, w->err) || qcow2_table_new(w->image, &l2.l2, w->err))
		qcow2_walk_fail(w);
	else
		omitted = walk_l2_tables(w, &l2);
	qcow2_walk_end_list(w, &list);
	qcow2_table_free(l2.l1);
	qcow2_table_free(l2.l2);
	qcow2_name_set_release(&l2.shown);
	qcow2_walk_leave(w);
	qcow2_walk_omitted(w, "l2_omitted", omitted);
}
