/* SPDX-License-Identifier: MIT */
/* Compares the tables and the data of bitmaps that both images have. */
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>

#include "base/ones.h"
#include "diff/internal.h"

/* The walk shows bitmap data in pieces of this size, or of a cluster if that is smaller. */
#define PIECE_BYTES 4096

/* The data of the entry at hand. */
struct data {
	uint64_t first; /* index of its first piece in the bitmap */
	size_t piece_bytes;
};

static void hear_data(struct q2_diff *d, const struct q2_diff_table tables[2],
		      const struct q2_diff_piece *piece, void *opaque)
{
	const struct data *data = opaque;

	for (size_t i = 0; i < piece->size && !d->failed; i += data->piece_bytes) {
		size_t rest = piece->size - i;
		size_t size = rest < data->piece_bytes ? rest : data->piece_bytes;
		struct qcow2_diff_entry entries[2];

		if (memcmp(piece->bytes[0] + i, piece->bytes[1] + i, size) == 0 &&
		    !q2_diff_only_one(tables, piece->at + i))
			continue;
		for (size_t side = 0; side < 2; side++) {
			entries[side] = q2_diff_place(&tables[side], piece->at + i);
			entries[side].entry = q2_count_ones(piece->bytes[side] + i, size);
		}
		q2_diff_run_add(d, data->first + (piece->at + i) / data->piece_bytes, entries);
	}
}

/* Compares the data that the entries of a piece of both tables lead to, where both have some. */
static void hear_table(struct q2_diff *d, const struct q2_diff_table tables[2],
		       const struct q2_diff_piece *piece, void *opaque)
{
	uint64_t cluster = d->halves[0].geometry->cluster_size_bytes;
	struct data data = {.piece_bytes = cluster < PIECE_BYTES ? (size_t)cluster : PIECE_BYTES};

	(void)tables;
	(void)opaque;
	q2_diff_outer(d, piece);
	for (size_t i = 0; i < piece->size && !d->failed; i += 8) {
		struct q2_diff_table both[2];

		for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++) {
			uint64_t entry = q2_diff_outer_entry(d, side, i);
			uint64_t offset = qcow2_bitmap_table_entry_decode(entry).offset;

			both[side] = offset ? q2_diff_table(d, side, offset, cluster)
					    : (struct q2_diff_table){0};
		}
		if (both[0].offset_bytes == 0 || both[1].offset_bytes == 0 ||
		    q2_diff_compared(d, QCOW2_DIFF_BITMAP_DATA, both))
			continue;
		data.first = (piece->at + i) / 8 * (cluster / data.piece_bytes);
		q2_diff_read(d, both, false, hear_data, &data);
	}
}

void q2_diff_bitmap(struct q2_diff *d, const struct q2_diff_element *const elements[2],
		    const char *path)
{
	char table_path[Q2_DIFF_PATH_MAX + 8], data_path[Q2_DIFF_PATH_MAX + 8], ignored[128];
	struct q2_diff_table tables[2] = {{0}, {0}};
	const struct q2_diff_kind table = {
		.path = table_path, .table = QCOW2_DIFF_BITMAP_TABLE, .words = 1};
	const struct q2_diff_kind data = {
		.path = data_path, .table = QCOW2_DIFF_BITMAP_DATA, .words = 1};

	if (d->failed || q2_diff_no_tables(d, ignored))
		return;
	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++) {
		const struct q2_diff_list_of *list = &d->halves[side].lists[Q2_DIFF_BITMAPS];
		uint64_t offset, entries;

		if (q2_diff_number(d, list, elements[side], "bitmap_table_offset", &offset) &&
		    q2_diff_number(d, list, elements[side], "bitmap_table_size", &entries))
			tables[side] = q2_diff_table(d, side, offset, entries * 8);
	}
	if (q2_diff_compared(d, QCOW2_DIFF_BITMAP_TABLE, tables))
		return;
	snprintf(table_path, sizeof(table_path), "%s/table", path);
	snprintf(data_path, sizeof(data_path), "%s/data", path);
	q2_diff_words(d, tables, &table);
	q2_diff_run_begin(d, &data);
	q2_diff_read(d, tables, true, hear_table, NULL);
	q2_diff_run_end(d);
}
