/* SPDX-License-Identifier: MIT */
/* What QEMU makes of the names in a snapshot table, and how large it writes the table. */
#include <stdlib.h>
#include <string.h>

#include "common/snapshot_table.h"

struct qcow2_bytes table_read_text(struct qcow2_bytes text)
{
	const uint8_t *nul = text.size > 0 ? memchr(text.data, 0, text.size) : NULL;

	if (nul)
		text.size = (size_t)(nul - text.data);
	return text;
}

static int compare_texts(struct qcow2_bytes a, struct qcow2_bytes b)
{
	size_t common;
	int order;

	a = table_read_text(a);
	b = table_read_text(b);
	common = a.size < b.size ? a.size : b.size;
	order = common > 0 ? memcmp(a.data, b.data, common) : 0;
	return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* ---- finding ---- */

static int compare_rows(const struct table_row *a, const struct table_row *b)
{
	return (a->snapshot.index > b->snapshot.index) - (a->snapshot.index < b->snapshot.index);
}

static int by_name(const void *a, const void *b)
{
	const struct table_row *const *left = a, *const *right = b;
	int order = compare_texts((*left)->snapshot.name, (*right)->snapshot.name);

	return order ? order : compare_rows(*left, *right);
}

static int by_id(const void *a, const void *b)
{
	const struct table_row *const *left = a, *const *right = b;
	int order = compare_texts((*left)->snapshot.id, (*right)->snapshot.id);

	return order ? order : compare_rows(*left, *right);
}

bool table_sort(struct snapshot_table *table)
{
	table->by_name = calloc(table->count + 1, sizeof(const struct table_row *));
	table->by_id = calloc(table->count + 1, sizeof(const struct table_row *));
	if (!table->by_name || !table->by_id)
		return false;
	for (uint64_t i = 0; i < table->count; i++)
		table->by_name[i] = table->by_id[i] = &table->rows[i];
	qsort(table->by_name, table->count, sizeof(*table->by_name), by_name);
	qsort(table->by_id, table->count, sizeof(*table->by_id), by_id);
	return true;
}

static struct qcow2_bytes text_at(const struct snapshot_table *table, bool ids, uint64_t place)
{
	return ids ? table->by_id[place]->snapshot.id : table->by_name[place]->snapshot.name;
}

/* The first place of a sorted list whose row has a text that is not below `text`. */
static uint64_t first_of(const struct snapshot_table *table, bool ids, struct qcow2_bytes text)
{
	uint64_t low = 0, high = table->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (compare_texts(text_at(table, ids, middle), text) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint64_t table_count(const struct snapshot_table *table, bool ids, struct qcow2_bytes text)
{
	uint64_t first = first_of(table, ids, text), end = first;

	while (end < table->count && compare_texts(text_at(table, ids, end), text) == 0)
		end++;
	return end - first;
}

/* Whether a text is the ID of another row. */
static bool is_id_of_other(const struct snapshot_table *table, const struct table_row *row,
			   struct qcow2_bytes text)
{
	uint64_t at = first_of(table, true, text);

	return at < table->count && table->by_id[at] != row &&
	       compare_texts(table->by_id[at]->snapshot.id, text) == 0;
}

bool table_deletes_by_name(const struct snapshot_table *table, const struct table_row *row)
{
	struct qcow2_bytes name = row->snapshot.name;

	return !row->snapshot.cut && table->by_name[first_of(table, false, name)] == row &&
	       !is_id_of_other(table, row, name);
}

/* ---- the space of the table itself ---- */

static uint64_t pad(uint64_t bytes)
{
	return (bytes + 7) & ~UINT64_C(7);
}

static uint64_t whole_clusters(const struct snapshot_table *table, uint64_t bytes)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(table->image);
	uint64_t cluster = geometry ? geometry->cluster_size_bytes : 1;

	return (bytes + cluster - 1) / cluster * cluster;
}

uint64_t table_bytes_stored(const struct qcow2_image *image, uint64_t offset, uint64_t bytes)
{
	uint64_t size = qcow2_source_size_bytes(qcow2_image_source(image));
	uint64_t left = offset < size ? size - offset : 0;

	return bytes < left ? bytes : left;
}

uint64_t table_bytes(const struct snapshot_table *table)
{
	return whole_clusters(table, table->used_bytes);
}

/* The bytes of an entry as QEMU writes it, without padding. */
static uint64_t written_bytes(const struct qcow2_snapshot *snapshot)
{
	uint64_t extra = snapshot->header.extra_data_size;

	if (extra < sizeof(struct qcow2_snapshot_extra))
		extra = sizeof(struct qcow2_snapshot_extra);
	return sizeof(struct qcow2_snapshot_header) + extra + table_read_text(snapshot->id).size +
	       table_read_text(snapshot->name).size;
}

void table_add_written(struct snapshot_table *table, const struct qcow2_snapshot *snapshot)
{
	table->written_bytes += pad(written_bytes(snapshot));
}

uint64_t table_bytes_without(const struct snapshot_table *table, const uint64_t *gone, size_t count)
{
	uint64_t bytes = table->written_bytes, last = table->count;

	for (size_t i = 0; i < count; i++)
		bytes -= pad(written_bytes(&table->rows[gone[i]].snapshot));
	/* The last entry that stays has no padding. */
	while (count > 0 && last > 0 && gone[count - 1] == last - 1) {
		count--;
		last--;
	}
	if (last > 0) {
		uint64_t size = written_bytes(&table->rows[last - 1].snapshot);

		bytes -= pad(size) - size;
	}
	return whole_clusters(table, bytes);
}
