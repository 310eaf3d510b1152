/* SPDX-License-Identifier: MIT */
/* See text_table.h. */
#include "out/text_table.h"

#include <stdio.h>

#include "out/text_value.h"
#include "out/wrap.h"

/* How wide columns are without a terminal. */
#define FIRST_WIDTH 15
#define WIDTH       16
#define WIDE_WIDTH  20

/* The column after this one, in cells that follow each other. */
static const char *next_cell(const char *cell)
{
	return cell + strlen(cell) + 1;
}

/* ---- with fixed widths ---- */

/* As fast as bulk tables need it: what is double wide counts once. */
static unsigned characters(const char *text)
{
	unsigned count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

/* first: the cell of column 0; the others are in cells. */
static void write_fixed(struct text_table *t, const char *first, const char *cells, size_t count)
{
	unsigned filled = characters(first), column = FIRST_WIDTH;

	spool_text(t->out, first);
	for (size_t i = 1; i < count; i++) {
		size_t size = strlen(cells);

		spool_fill(t->out, ' ', filled < column ? column - filled : 1);
		spool_write(t->out, cells, size);
		filled = characters(cells);
		column = t->widths[i] + 1;
		cells += size + 1;
	}
	spool_write(t->out, "\n", 1);
}

unsigned text_table_place(const struct text_table *t, size_t count)
{
	return count == 0 ? FIRST_WIDTH : t->widths[count] + 1;
}

/* ---- on a terminal ---- */

static void write_fitted(struct text_table *t, const char *cells, size_t count)
{
	unsigned indent = t->widths[0] + t->gap, at = 0, wanted = 0, line = 0;

	for (size_t i = 0; i < count; i++, cells = next_cell(cells)) {
		unsigned columns = text_columns(cells);

		if (i > 0 && wanted <= at)
			wanted = at + 1;
		if (i > 0 && (t->lines[i] != line || wanted + columns > t->columns) && at > 0) {
			spool_text(t->out, "\n");
			line = t->lines[i];
			at = 0;
			wanted = indent;
		}
		spool_fill(t->out, ' ', wanted - at);
		spool_text(t->out, cells);
		at = wanted + columns;
		wanted += t->widths[i] + t->gap;
	}
	spool_text(t->out, "\n");
}

/* Makes each column as wide as what is kept of it. */
static void measure(struct text_table *t)
{
	const char *end = t->kept + t->kept_size;

	t->most = t->name_count;
	for (size_t i = 0; i < TEXT_COLUMNS_MAX; i++)
		t->widths[i] = i < t->name_count ? text_columns(t->names[i]) : 0;
	for (const char *at = t->kept; at < end;) {
		size_t count = (unsigned char)*at++;

		t->most = t->most < count ? count : t->most;
		for (size_t i = 0; i < count; i++, at = next_cell(at)) {
			unsigned columns = text_columns(at);

			if (t->widths[i] < columns)
				t->widths[i] = columns;
		}
	}
}

/* Distributes columns over lines that fit the terminal, with as much between as there is room. */
static void lay_out(struct text_table *t)
{
	unsigned total = 0, at, line = 0;

	for (size_t i = 0; i < t->most; i++)
		total += t->widths[i] + 2;
	t->gap = total - 2 <= t->columns || total - 1 - t->most > t->columns ? 2 : 1;
	at = t->widths[0];
	t->lines[0] = 0;
	for (size_t i = 1; i < TEXT_COLUMNS_MAX; i++) {
		at += t->gap + t->widths[i];
		if (at > t->columns && i > 1) {
			line++;
			at = t->widths[0] + t->gap + t->widths[i];
		}
		t->lines[i] = line;
	}
}

static void write_names(struct text_table *t)
{
	char names[sizeof(t->names)];
	char *at = names;

	for (size_t i = 0; i < t->name_count; i++) {
		size_t size = strlen(t->names[i]) + 1;

		memcpy(at, t->names[i], size);
		at += size;
	}
	if (t->columns > 0)
		write_fitted(t, names, t->name_count);
	else
		write_fixed(t, names, next_cell(names), t->name_count);
}

/* Prints the heading and the rows that were kept for it. */
static void settle(struct text_table *t)
{
	const char *end = t->kept + t->kept_size;

	t->settled = true;
	measure(t);
	lay_out(t);
	write_names(t);
	for (const char *at = t->kept; at < end;) {
		size_t count = (unsigned char)*at++;

		write_fitted(t, at, count);
		for (size_t i = 0; i < count; i++)
			at = next_cell(at);
	}
	t->kept_size = 0;
}

static bool keep(struct text_table *t, const char *cells, size_t size)
{
	if (t->settled || size + 1 > sizeof(t->kept) - t->kept_size)
		return false;
	t->kept[t->kept_size] = (char)t->count;
	memcpy(t->kept + t->kept_size + 1, cells, size);
	t->kept_size += size + 1;
	return true;
}

/* ---- rows ---- */

static void set_name(struct text_table *t, size_t column, const char *name)
{
	const size_t size = strlen(name), most = sizeof(t->names[0]) - 1;
	const size_t shown = size < most ? size : most;

	memcpy(t->names[column], name, shown);
	t->names[column][shown] = '\0';
}

void text_table_cell(struct text_table *t, const char *name, const char *text)
{
	size_t size = strlen(text) + 1;

	if (t->count == TEXT_COLUMNS_MAX || t->row_size + size > sizeof(t->row))
		return;
	if (!t->heading) {
		bool wide = strcmp(name, "entry") == 0 || strcmp(name, "bytes") == 0;

		set_name(t, t->count, name);
		t->widths[t->count] = wide ? WIDE_WIDTH : WIDTH;
	}
	memcpy(t->row + t->row_size, text, size);
	t->row_size += size;
	t->count++;
}

void text_table_begin_row(struct text_table *t, const char *title, uint64_t number)
{
	t->count = 1;
	t->row_size = 0;
	t->first = t->last = number;
	t->pending = true;
	if (!t->heading)
		set_name(t, 0, title);
}

/* Prints or keeps the row on a terminal. Its numbers take the first `size` bytes of cells. */
static void write_waiting(struct text_table *t, char *cells, size_t size)
{
	memcpy(cells + size, t->row, t->row_size);
	if (keep(t, cells, size + t->row_size))
		return;
	if (!t->settled)
		settle(t);
	write_fitted(t, cells, t->count);
}

/* The row with its numbers in front: 5, or 5..17. */
static void write_row(struct text_table *t)
{
	char cells[2 * TEXT_NUMBER_MAX + TEXT_ROW_MAX];

	text_number(cells, "", 10, t->first);
	if (t->first != t->last)
		text_number(cells + strlen(cells), "..", 10, t->last);
	if (!t->heading) {
		t->heading = true;
		t->name_count = t->count;
		if (t->columns == 0)
			write_names(t);
	}
	if (t->columns == 0)
		write_fixed(t, cells, t->row, t->count);
	else
		write_waiting(t, cells, strlen(cells) + 1);
}

void text_table_flush(struct text_table *t)
{
	if (t->pending)
		write_row(t);
	t->pending = false;
}

void text_table_end(struct text_table *t)
{
	text_table_flush(t);
	if (t->kept_size > 0)
		settle(t);
	t->heading = t->settled = false;
}
