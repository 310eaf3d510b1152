/* SPDX-License-Identifier: MIT */
/*
 * Rows as lines of a table of fixed widths. The first row of a table, which makes its heading, and
 * the last one so far, which those behind it may repeat, go the way of single rows.
 */
#include <assert.h>
#include <string.h>

#include "out/digits.h"
#include "out/emitter.h"
#include "out/rows_page.h"

#define TEXT_MOST 32
/* What a cell takes, with the blanks behind it. */
#define CELL_MOST 64

/* A line stands for rows first to last; its values are as in struct qcow2_rows. */
struct line {
	uint64_t first, last;
};

struct batch {
	size_t count, column_count;
	unsigned widths[ROWS_COLUMNS_MOST]; /* of what stands before each cell */
	const struct qcow2_column *columns[ROWS_COLUMNS_MOST];
	struct line lines[ROWS_VALUES_MOST];
	uint64_t values[ROWS_VALUES_MOST];
};

struct text_page {
	struct rows_page common;
};

/* Puts blanks behind what begins at `start`, up to a width, at least one. */
static inline char *put_blanks(char *to, const char *start, unsigned width)
{
	const unsigned size = (unsigned)(to - start);

	memset(to, ' ', TEXT_WIDTH_MOST);
	return to + (size < width ? width - size : 1);
}

static inline char *put_value(char *to, const struct qcow2_column *column, uint64_t value)
{
	if (column->texts) {
		const char *text = column->texts[value];
		const size_t size = strlen(text);

		memcpy(to, text, size);
		return to + size;
	}
	if (column->style != QCOW2_STYLE_HEX)
		return digits_put(to, value);
	memcpy(to, "0x", 2);
	return digits_put_hex(to + 2, value);
}

static char *put_line(char *to, const struct batch *batch, size_t i)
{
	const struct line *line = &batch->lines[i];
	const uint64_t *values = batch->values + i * batch->column_count;
	char *start = to;

	to = digits_put(to, line->first);
	if (line->first != line->last) {
		memcpy(to, "..", 2);
		to = digits_put(to + 2, line->last);
	}
	for (size_t c = 0; c < batch->column_count; c++) {
		if (batch->columns[c]->audience == QCOW2_FOR_PROGRAMS)
			continue;
		to = put_blanks(to, start, batch->widths[c]);
		start = to;
		to = put_value(to, batch->columns[c], values[c]);
	}
	*to = '\n';
	return to + 1;
}

static void make(void *opaque, unsigned worker, const void *from, struct spool *out)
{
	const struct batch *batch = from;

	(void)opaque;
	(void)worker;
	for (size_t i = 0; i < batch->count; i++) {
		char *to = spool_reserve(out, (batch->column_count + 2) * CELL_MOST);

		if (!to)
			return;
		spool_advance(out, put_line(to, batch, i));
	}
}

struct rows_page *rows_page_text(const struct text_emitter *emitter, unsigned threads)
{
	static const struct rows_kind kind = {sizeof(struct text_page), sizeof(struct batch), make};

	return rows_page_open(emitter->out, &kind, threads);
}

/* ---- batches ---- */

/* Whether all columns are of a kind that this file writes. */
static bool are_plain(const struct qcow2_rows *rows)
{
	for (size_t c = 0; c < rows->column_count; c++) {
		const struct qcow2_column *column = rows->columns[c];

		if (!column->texts && column->style != QCOW2_STYLE_HEX &&
		    column->style != QCOW2_STYLE_DECIMAL)
			return false;
	}
	return rows->column_count <= ROWS_COLUMNS_MOST;
}

/* The first row from i on that does not repeat the one before it. */
static size_t end_of_run(const struct qcow2_rows *rows, size_t i)
{
	while (i < rows->count && rows->repeats[i])
		i++;
	return i;
}

/* Goes past those first rows that repeat the one that waits. Returns how many there are. */
static size_t join(struct text_table *table, const struct qcow2_rows *rows)
{
	size_t end;

	if (!table->pending || rows->index != table->last + 1)
		return 0;
	end = end_of_run(rows, 0);
	if (end > 0)
		table->last = rows->index + end - 1;
	return end;
}

/* The first row of the last run. */
static size_t last_run(const struct qcow2_rows *rows)
{
	size_t i = rows->count - 1;

	while (i > 0 && rows->repeats[i])
		i--;
	return i;
}

/* Rows, and who is told of one by itself. */
struct alone {
	const struct qcow2_rows *rows;
	const struct qcow2_visitor *visitor;
};

/* Tells row i, and those up to `end` that repeat it, as single rows are told. */
static void add_alone(struct text_emitter *e, const struct alone *alone, size_t i, size_t end)
{
	const struct qcow2_rows *rows = alone->rows;

	rows_tell_one(alone->visitor, e, rows, i);
	e->table.last = rows->index + end - 1;
}

static void set_columns(struct batch *batch, const struct text_table *table,
			const struct qcow2_rows *rows)
{
	size_t shown = 0;

	batch->count = 0;
	batch->column_count = rows->column_count;
	for (size_t c = 0; c < rows->column_count; c++) {
		batch->columns[c] = rows->columns[c];
		batch->widths[c] = text_table_place(table, shown);
		shown += rows->columns[c]->audience != QCOW2_FOR_PROGRAMS;
	}
}

/* Adds lines of the rows from i to end, between which runs begin and end. */
static void add_lines(struct text_emitter *e, const struct qcow2_rows *rows, size_t i, size_t end)
{
	const size_t columns = rows->column_count, most = ROWS_VALUES_MOST / columns;

	while (i < end) {
		struct batch *batch = relay_batch(e->rows->relay);

		set_columns(batch, &e->table, rows);
		for (; i < end && batch->count < most; batch->count++) {
			const size_t next = end_of_run(rows, i + 1);

			batch->lines[batch->count] =
				(struct line){rows->index + i, rows->index + next - 1};
			memcpy(batch->values + batch->count * columns, rows->values + i * columns,
			       columns * sizeof(batch->values[0]));
			i = next;
		}
		relay_push(e->rows->relay);
	}
}

void rows_add_text(struct text_emitter *e, const struct qcow2_rows *rows,
		   const struct qcow2_visitor *visitor)
{
	const struct alone alone = {rows, visitor};
	size_t i = join(&e->table, rows), last;

	if (!are_plain(rows)) {
		for (; i < rows->count; i++)
			rows_tell_one(visitor, e, rows, i);
		return;
	}
	if (i < rows->count && !e->table.heading) {
		const size_t end = end_of_run(rows, i + 1);

		add_alone(e, &alone, i, end);
		i = end;
	}
	if (i == rows->count)
		return;
	text_table_flush(&e->table);
	last = last_run(rows);
	add_lines(e, rows, i, last);
	add_alone(e, &alone, last, rows->count);
}
