/* SPDX-License-Identifier: MIT */
/* Reads tables of 64-bit entries and refcount blocks through a window. */
#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "image/internal.h"

struct qcow2_table {
	struct q2_window window;
	const struct qcow2_image *image;
	uint64_t offset;
	uint64_t entries; /* of the table, as far as the file has it */
};

int qcow2_table_open(const struct qcow2_image *image, struct qcow2_table **out,
		     struct qcow2_error *err)
{
	struct qcow2_table *table = q2_alloc(sizeof(*table));

	if (!table || !q2_window_init(&table->window, image, Q2_WINDOW_BYTES)) {
		q2_free(table);
		return q2_fail_memory(err);
	}
	table->image = image;
	*out = table;
	return 0;
}

uint64_t qcow2_table_begin(struct qcow2_table *table, uint64_t offset_bytes, uint64_t entries)
{
	uint64_t end = table->image->sane ? q2_image_readable_end(table->image) : 0;
	uint64_t there = offset_bytes < end ? (end - offset_bytes) / 8 : 0;

	/*
	 * The zeros that fill up the last cluster belong to tables that start within the file only.
	 */
	if (offset_bytes >= qcow2_source_size_bytes(table->image->source))
		there = 0;
	table->offset = offset_bytes;
	table->entries = entries < there ? entries : there;
	q2_window_begin(&table->window, offset_bytes, offset_bytes + table->entries * 8);
	return table->entries;
}

/* Views the 8 bytes of an entry. It is an error if the table does not reach there. */
static int view_word(struct qcow2_table *table, uint64_t index, struct qcow2_bytes *view,
		     struct qcow2_error *err)
{
	if (index >= table->entries)
		return q2_fail(err, QCOW2_ERROR_BROKEN, table->offset,
			       "the table has only %llu entries in the file",
			       (unsigned long long)table->entries);
	return q2_window_view(&table->window, table->offset + index * 8, 8, view, err);
}

int qcow2_table_entry(struct qcow2_table *table, uint64_t index, uint64_t *entry,
		      struct qcow2_error *err)
{
	struct qcow2_bytes view;

	if (view_word(table, index, &view, err))
		return -1;
	*entry = q2_load_be64(view.data);
	return 0;
}

int qcow2_table_refcount(struct qcow2_table *table, uint64_t index, uint64_t *refcount,
			 struct qcow2_error *err)
{
	unsigned bits = table->image->geometry.refcount_bits;
	unsigned per_word = 64 / (bits ? bits : 16);
	struct qcow2_bytes view;

	if (view_word(table, index / per_word, &view, err))
		return -1;
	*refcount = qcow2_refcount_get(view.data, index % per_word, bits);
	return 0;
}

void qcow2_table_close(struct qcow2_table *table)
{
	if (!table)
		return;
	q2_window_release(&table->window);
	q2_free(table);
}
