/* SPDX-License-Identifier: MIT */
/*
 * Walks the L2 tables below any L1 table. A table that several L1 entries share, of the active
 * image or of snapshots, is shown once; later ones refer to it by its path ("same-as").
 *
 * Entries are shown one by one as they are stored, which is why the stream of guest extents
 * (mapping.h), which joins them, is not used here.
 */
#include <qcow2/entry.h>
#include <qcow2/mapping.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "base/hash.h"
#include "image/mapping/mapping.h"
#include "walk/lost.h"
#include "walk/rows.h"

/* The most L2 tables that are remembered as shown, in 16 MiB. Later ones are shown again. */
#define TABLES_MAX (UINT64_C(1) << 20)

/* The list of the active image's L2 tables; that of snapshot i is 1 + i. */
#define ACTIVE 0

/* An L2 entry and where it is; subclusters is the second half of an extended one, else 0. */
struct l2_row {
	struct q2_entry_place place;
	uint64_t entry;
	uint64_t subclusters;
	bool repeats; /* equals the entry before it, so that pages for people may join them */
};

/* An L2 table: the index of the L1 entry that leads to it, and the disk of which it maps a part. */
struct l2_table {
	uint64_t index;
	uint64_t offset_bytes;
	const struct q2_disk *disk;
};

/* What an L2 entry says, as it is told. */
struct l2_said {
	enum qcow2_l2_kind kind;
	uint64_t offset, sectors, copied;
	struct qcow2_l2_subclusters bits;
};

static const struct qcow2_column entry_column = Q2_NUMBER_COLUMN("entry", QCOW2_STYLE_HEX),
				 guest_column = Q2_NUMBER_COLUMN("guest", QCOW2_STYLE_HEX),
				 type_column = {.size = sizeof(type_column),
						.name = "type",
						.style = QCOW2_STYLE_TEXT,
						.texts = q2_l2_kind_names,
						.text_count = Q2_L2_KINDS},
				 offset_column = Q2_NUMBER_COLUMN("offset", QCOW2_STYLE_HEX),
				 sectors_column = Q2_NUMBER_COLUMN("sectors", QCOW2_STYLE_DECIMAL),
				 copied_column = Q2_NUMBER_COLUMN("copied", QCOW2_STYLE_DECIMAL),
				 allocated_column = Q2_NUMBER_COLUMN("allocated", QCOW2_STYLE_HEX),
				 zeroes_column = Q2_NUMBER_COLUMN("zeroes", QCOW2_STYLE_HEX);
static const struct qcow2_column *const columns[] = {
	&entry_column,   &guest_column,  &type_column,      &offset_column,
	&sectors_column, &copied_column, &allocated_column, &zeroes_column,
};
#define PLAIN_COLUMNS    6 /* without subclusters */
#define EXTENDED_COLUMNS 8

static uint64_t list_of(const struct q2_disk *disk)
{
	return disk->of_snapshot ? disk->snapshot_index + 1 : ACTIVE;
}

/* Tells one half of the subcluster bitmap, which lies at offset_bytes as a number of 32 bits. */
static void walk_subclusters(struct q2_walk_state *w, const char *name, uint32_t bits,
			     uint64_t offset_bytes)
{
	uint8_t bytes[4];

	for (unsigned i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(bits >> (24 - 8 * i));
	q2_walk_value(w, &(struct qcow2_value){.name = name,
					       .kind = QCOW2_VALUE_NUMBER,
					       .style = QCOW2_STYLE_HEX,
					       .number = bits,
					       .raw = {bytes, sizeof(bytes)},
					       .offset_bytes = offset_bytes});
}

static inline struct l2_said say_l2(const struct qcow2_geometry *geometry, const struct l2_row *l2)
{
	const struct qcow2_l2_entry fields = qcow2_l2_entry_decode(l2->entry);
	struct l2_said said = {
		.kind = qcow2_l2_classify(l2->entry, geometry->extended_l2, geometry->data_file),
		.offset = fields.offset,
		.copied = fields.copied,
		.bits = qcow2_l2_subclusters_decode(l2->subclusters),
	};

	if (said.kind == QCOW2_L2_COMPRESSED) {
		const struct qcow2_compressed_extent extent =
			qcow2_compressed_split(l2->entry, geometry->cluster_bits);

		said.offset = extent.offset_bytes;
		said.sectors = extent.sectors;
	}
	return said;
}

static void walk_l2_row(struct q2_walk_state *w, const struct l2_row *l2)
{
	const struct l2_said said = say_l2(w->geometry, l2);
	struct qcow2_node row = q2_walk_row(l2->place.index, l2->place.offset_bytes);

	row.repeats = l2->repeats;
	if (!q2_walk_enter_index(w, l2->place.index))
		return;
	q2_walk_begin(w, &row);
	q2_walk_entry(w, l2->entry, l2->place.offset_bytes);
	q2_walk_number(w, "guest", QCOW2_STYLE_HEX, l2->place.guest_byte);
	q2_walk_text(w, "type", qcow2_l2_kind_name(said.kind));
	q2_walk_number(w, "offset", QCOW2_STYLE_HEX, said.offset);
	q2_walk_number(w, "sectors", QCOW2_STYLE_DECIMAL, said.sectors);
	q2_walk_number(w, "copied", QCOW2_STYLE_DECIMAL, said.copied);
	if (w->geometry->extended_l2) {
		walk_subclusters(w, "allocated", (uint32_t)said.bits.allocated,
				 l2->place.offset_bytes + 12);
		walk_subclusters(w, "zeroes", (uint32_t)said.bits.zeroes,
				 l2->place.offset_bytes + 8);
	}
	q2_walk_end(w, &row);
	q2_walk_leave(w);
}

/* Adds the values of a row, in the order of the columns. */
static void add_l2_row(struct q2_walk_state *w, struct q2_walk_rows *rows, const struct l2_row *l2)
{
	const struct l2_said said = say_l2(w->geometry, l2);
	uint64_t *values = q2_walk_rows_add(w, rows, l2->place.index, l2->repeats);

	*values++ = l2->entry;
	*values++ = l2->place.guest_byte;
	*values++ = said.kind;
	*values++ = said.offset;
	*values++ = said.sectors;
	*values++ = said.copied;
	if (w->geometry->extended_l2) {
		*values++ = said.bits.allocated;
		*values++ = said.bits.zeroes;
	}
}

/* Loads entry i of the table that the reader is at, and compares it with the one in *l2. */
static bool load_l2(struct q2_walk_state *w, struct qcow2_table *table, uint64_t i,
		    struct l2_row *l2)
{
	unsigned words = w->geometry->l2_entry_bytes / 8;
	struct l2_row before = *l2;

	l2->subclusters = 0;
	if (qcow2_table_entry(table, i * words, &l2->entry, w->err) ||
	    (words == 2 && qcow2_table_entry(table, i * 2 + 1, &l2->subclusters, w->err))) {
		q2_walk_fail(w);
		return false;
	}
	l2->repeats = l2->entry == before.entry && l2->subclusters == before.subclusters;
	return true;
}

/*
 * Walks the rows of an L2 table with that path. Returns how many rows the budget did not pay for.
 */
static uint64_t walk_rows(struct q2_walk_state *w, const struct l2_table *at, const char *owner)
{
	unsigned words = w->geometry->l2_entry_bytes / 8;
	struct qcow2_table *table = w->l2.tables;
	uint64_t first = 0, wanted;
	uint64_t last =
		qcow2_table_begin(table, at->offset_bytes, w->geometry->l2_entries * words) / words;
	struct l2_row l2 = {.place = {.owner = owner, .disk = at->disk}};
	struct q2_walk_rows *rows;

	q2_walk_lost_rows(w, "the L2 table", w->geometry->l2_entries, last);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.tables, first, last, w->geometry->l2_entry_bytes);
	rows = q2_walk_rows_begin(w, columns, words == 2 ? EXTENDED_COLUMNS : PLAIN_COLUMNS,
				  last - first);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		if (!load_l2(w, table, i, &l2))
			break;
		l2.repeats = l2.repeats && i > first;
		l2.place.index = i;
		l2.place.offset_bytes = at->offset_bytes + i * w->geometry->l2_entry_bytes;
		l2.place.guest_byte = q2_guest_byte(w->geometry, at->index, i);
		if (!w->probe)
			q2_rules_l2_entry(w->image, &l2.place, l2.entry, l2.subclusters,
					  &w->reporter);
		if (!rows)
			walk_l2_row(w, &l2);
		else if (!w->failed)
			add_l2_row(w, rows, &l2);
	}
	q2_walk_rows_end(w, rows);
	return wanted > last ? wanted - last : 0;
}

/* Fills path with that of a list of L2 tables, and returns it. */
static const char *list_path(uint64_t list, char *path, size_t size)
{
	if (list == ACTIVE)
		snprintf(path, size, "l2");
	else
		snprintf(path, size, "snapshots/%" PRIu64 "/l2", list - 1);
	return path;
}

/*
 * Whether the table at offset was shown before. *earlier is then the place where: its list in the
 * upper 32 bits, its index in the lower ones, as `here` is for this one. An offset can serve as its
 * own hash, since it identifies the table. If the set is full, tables are shown again.
 */
static bool shown_before(struct q2_walk_state *w, uint64_t offset, uint64_t here, uint64_t *earlier)
{
	*earlier = Q2_NAME_SET_NEW;
	if (q2_name_set_insert(&w->l2.shown, offset, here, earlier) == QCOW2_ERROR_MEMORY) {
		q2_fail_memory(w->err);
		q2_walk_fail(w);
	}
	return *earlier != Q2_NAME_SET_NEW;
}

static void walk_same_as(struct q2_walk_state *w, uint64_t earlier)
{
	char path[64], text[96];

	snprintf(text, sizeof(text), "%s/%" PRIu64, list_path(earlier >> 32, path, sizeof(path)),
		 earlier & UINT32_MAX);
	q2_walk_text(w, "same-as", text);
}

static void walk_entries(struct q2_walk_state *w, const struct l2_table *table)
{
	struct qcow2_node node = q2_walk_node("entries", NULL);
	char path[64], owner[96];
	uint64_t omitted;

	if (!q2_walk_enter_key(w, "entries"))
		return;
	snprintf(owner, sizeof(owner), "%s/%" PRIu64,
		 list_path(list_of(table->disk), path, sizeof(path)), table->index);
	q2_walk_begin_list(w, &node);
	omitted = walk_rows(w, table, owner);
	q2_walk_end_list(w, &node);
	q2_walk_leave(w);
	q2_walk_omitted(w, "entries-omitted", omitted);
}

static void walk_table(struct q2_walk_state *w, const struct l2_table *table)
{
	struct qcow2_node node = q2_walk_node(NULL, "L2 table");
	char title[64];
	uint64_t earlier;
	bool shown;

	if (table->disk->of_snapshot) {
		snprintf(title, sizeof(title), "Snapshot %" PRIu64 ", L2 table",
			 table->disk->snapshot_index);
		node.title = title;
	}
	node.index = table->index;
	node.offset_bytes = table->offset_bytes;
	node.offset_key = "offset";
	if (!q2_walk_enter_index(w, table->index))
		return;
	shown = shown_before(w, table->offset_bytes, list_of(table->disk) << 32 | table->index,
			     &earlier);
	q2_walk_begin(w, &node);
	if (shown)
		walk_same_as(w, earlier);
	/* The probe looks at a table at each of its paths, since a selector may use any of them. */
	if (!shown || w->probe)
		walk_entries(w, table);
	q2_walk_end(w, &node);
	q2_walk_leave(w);
}

/*
 * Walks the tables that the entries of an L1 table lead to. Returns how many entries the budget did
 * not pay for.
 */
static uint64_t walk_list(struct q2_walk_state *w, const struct q2_walk_l1 *l1)
{
	uint64_t first = 0, wanted;
	uint64_t last = qcow2_table_begin(w->l2.l1, l1->offset_bytes, l1->entries);

	if (last < l1->entries)
		q2_walk_lost_rows(w, "the L1 table", l1->entries, last);
	q2_walk_lost_targets(w, "the L1 table", "L1 entry", last);
	q2_selection_narrow(w->selection, &first, &last);
	wanted = last;
	last = q2_walk_afford(&w->left.tables, first, last, 8);
	for (uint64_t i = first; i < last && !q2_walk_over(w); i++) {
		struct l2_table table = {.index = i, .disk = l1->disk};
		uint64_t entry = 0;

		if (qcow2_table_entry(w->l2.l1, i, &entry, w->err))
			q2_walk_fail(w);
		table.offset_bytes = qcow2_l1_entry_decode(entry).offset;
		if (table.offset_bytes != 0)
			walk_table(w, &table);
	}
	return wanted > last ? wanted - last : 0;
}

/* Makes two readers for all lists when they are first needed. Images may have 65,536 snapshots. */
static bool get_readers(struct q2_walk_state *w)
{
	struct q2_walk_l2_state *l2 = &w->l2;

	if ((!l2->l1 && qcow2_table_open(w->image, &l2->l1, w->err)) ||
	    (!l2->tables && qcow2_table_open(w->image, &l2->tables, w->err))) {
		q2_walk_fail(w);
		return false;
	}
	return true;
}

void q2_walk_l2_tables(struct q2_walk_state *w, const struct q2_walk_l1 *l1)
{
	struct qcow2_node node = q2_walk_node("l2", NULL);
	uint64_t omitted = 0;

	if (!w->geometry || !q2_walk_enter_bulk(w, "l2"))
		return;
	q2_walk_begin_list(w, &node);
	if (get_readers(w))
		omitted = walk_list(w, l1);
	q2_walk_end_list(w, &node);
	q2_walk_leave(w);
	q2_walk_omitted(w, "l2-omitted", omitted);
}

void q2_walk_l2(struct q2_walk_state *w)
{
	const struct q2_disk disk = {.size_bytes = w->header->size};

	q2_walk_l2_tables(w, &(struct q2_walk_l1){.offset_bytes = w->header->l1_table_offset,
						  .entries = w->header->l1_size,
						  .disk = &disk});
}

void q2_walk_l2_forget(struct q2_walk_state *w)
{
	q2_name_set_release(&w->l2.shown);
	q2_name_set_init(&w->l2.shown, TABLES_MAX);
}

void q2_walk_l2_release(struct q2_walk_state *w)
{
	qcow2_table_close(w->l2.l1);
	qcow2_table_close(w->l2.tables);
	q2_name_set_release(&w->l2.shown);
}
