/* SPDX-License-Identifier: MIT */
/*
 * Rows as JSON objects. All that is between two values of a row is made once for the rows of a
 * list and then copied in words of one size, which costs less than copying as much as there is.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "out/digits.h"
#include "out/emitter.h"
#include "out/rows_page.h"

#define WORDS_MOST 64
#define TEXTS_MOST 8
#define TEXT_MOST  32

/* Rows of one list; values are as in struct qcow2_rows. */
struct batch {
	unsigned depth, indent; /* of the objects */
	bool filled;            /* something is in the list already */
	uint64_t index;
	size_t count, column_count;
	const struct qcow2_column *columns[ROWS_COLUMNS_MOST];
	uint64_t values[ROWS_VALUES_MOST];
};

struct words {
	uint8_t size;
	char text[WORDS_MOST];
};

struct text {
	uint8_t size;
	char text[TEXT_MOST];
};

/* How the values of a column are written. */
struct cell {
	struct words key;
	struct words hex_key;    /* up to the first digit */
	uint64_t most;           /* a number above it has its digits in hexadecimal beside it */
	bool is_text, is_hidden; /* hidden: for people only */
	struct text texts[TEXTS_MOST];
};

/* How the rows of a list are written. */
struct layout {
	unsigned depth; /* 0: nothing is set */
	size_t column_count;
	const struct qcow2_column *columns[ROWS_COLUMNS_MOST];
	struct words begin, end;
	struct cell cells[ROWS_COLUMNS_MOST];
};

struct json_page {
	struct rows_page common;
	struct layout layouts[RELAY_THREADS_MOST];
};

/* ---- layouts ---- */

static void set_words(struct words *words, unsigned blanks, const char *before, const char *name,
		      const char *after)
{
	int size = snprintf(words->text, sizeof(words->text), "%s\n%*s%s%s", before, (int)blanks,
			    "", name, after);

	assert(size > 0 && (size_t)size < sizeof(words->text));
	words->size = (uint8_t)size;
}

static void set_cell(struct cell *cell, const struct qcow2_column *column, unsigned blanks)
{
	char name[TEXT_MOST];
	bool is_entry = strcmp(column->name, "entry") == 0;

	*cell = (struct cell){.most = is_entry ? 0 : JSON_EXACT_MOST,
			      .is_text = column->texts != NULL,
			      .is_hidden = column->audience == QCOW2_FOR_PEOPLE};
	snprintf(name, sizeof(name), "\"%s", column->name);
	set_words(&cell->key, blanks, ",", name, "\": ");
	set_words(&cell->hex_key, blanks, ",", name, "-hex\": \"0x");
	for (size_t i = 0; cell->is_text && i < column->text_count; i++) {
		assert(i < TEXTS_MOST && strlen(column->texts[i]) + 2 < TEXT_MOST);
		cell->texts[i].size = (uint8_t)snprintf(cell->texts[i].text, TEXT_MOST, "\"%s\"",
							column->texts[i]);
	}
}

static bool fits(const struct layout *layout, const struct batch *batch)
{
	return layout->depth == batch->depth && layout->column_count == batch->column_count &&
	       memcmp(layout->columns, batch->columns,
		      batch->column_count * sizeof(batch->columns[0])) == 0;
}

static void set_layout(struct layout *layout, const struct batch *batch)
{
	const unsigned outside = batch->depth * batch->indent, inside = outside + batch->indent;

	layout->depth = batch->depth;
	layout->column_count = batch->column_count;
	memcpy(layout->columns, batch->columns, sizeof(layout->columns));
	set_words(&layout->begin, outside, ",", "{", "");
	set_words(&layout->end, outside, "", "}", "");
	for (size_t c = 0; c < batch->column_count; c++)
		set_cell(&layout->cells[c], batch->columns[c], inside);
}

/* ---- text ---- */

static inline char *put_words(char *to, const struct words *words)
{
	memcpy(to, words->text, WORDS_MOST);
	return to + words->size;
}

static inline char *put_cell(char *to, const struct cell *cell, uint64_t value)
{
	to = put_words(to, &cell->key);
	if (cell->is_text) {
		memcpy(to, cell->texts[value].text, TEXT_MOST);
		return to + cell->texts[value].size;
	}
	to = digits_put(to, value);
	if (value <= cell->most && cell->most > 0)
		return to;
	to = put_words(to, &cell->hex_key);
	to = digits_put_hex(to, value);
	*to = '"';
	return to + 1;
}

static char *put_row(char *to, const struct layout *layout, const struct words *index_key,
		     uint64_t index, const uint64_t *values)
{
	to = put_words(to, &layout->begin);
	to = put_words(to, index_key);
	to = digits_put(to, index);
	for (size_t c = 0; c < layout->column_count; c++)
		if (!layout->cells[c].is_hidden)
			to = put_cell(to, &layout->cells[c], values[c]);
	return put_words(to, &layout->end);
}

static void make(void *opaque, unsigned worker, const void *from, struct spool *out)
{
	struct json_page *page = opaque;
	struct layout *layout = &page->layouts[worker];
	const struct batch *batch = from;
	/* A key, its value and its digits, for each column and the number of the row. */
	const size_t most = (batch->column_count + 2) * (2 * WORDS_MOST + 2 * DIGITS_ROOM);
	struct words index_key;

	if (!fits(layout, batch))
		set_layout(layout, batch);
	set_words(&index_key, (batch->depth + 1) * batch->indent, "", "\"index\"", ": ");
	for (size_t i = 0; i < batch->count; i++) {
		char *start = spool_reserve(out, most), *end;

		if (!start)
			return;
		end = put_row(start, layout, &index_key, batch->index + i,
			      batch->values + i * batch->column_count);
		/* The first object of a list has no comma before it. */
		if (i == 0 && !batch->filled)
			memmove(start, start + 1, (size_t)(--end - start));
		spool_advance(out, end);
	}
}

/* ---- batches ---- */

struct rows_page *rows_page_json(const struct json_emitter *emitter, unsigned threads)
{
	static const struct rows_kind kind = {sizeof(struct json_page), sizeof(struct batch), make};

	return rows_page_open(emitter->json.out, &kind, threads);
}

void rows_add_json(struct json_emitter *e, const struct qcow2_rows *rows)
{
	struct json *json = &e->json;
	const size_t columns = rows->column_count, most = ROWS_VALUES_MOST / columns;

	assert(columns <= ROWS_COLUMNS_MOST);
	for (size_t done = 0; done < rows->count;) {
		const size_t count = rows->count - done < most ? rows->count - done : most;
		struct batch *batch = relay_batch(e->rows->relay);

		batch->depth = json->depth;
		batch->indent = json->indent;
		batch->filled = json->filled[json->depth];
		batch->index = rows->index + done;
		batch->count = count;
		batch->column_count = columns;
		memset(batch->columns, 0, sizeof(batch->columns));
		memcpy(batch->columns, rows->columns, columns * sizeof(rows->columns[0]));
		memcpy(batch->values, rows->values + done * columns,
		       count * columns * sizeof(batch->values[0]));
		relay_push(e->rows->relay);
		json->filled[json->depth] = true;
		done += count;
	}
}
