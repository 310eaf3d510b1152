/* SPDX-License-Identifier: MIT */
/*
 * Shows a walk as text: headed blocks of "name value" lines, and lists of rows as tables.
 */
#include "out/emitter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/rows.h"
#include "out/text_value.h"
#include "out/wrap.h"

/* How wide places and names are, and values that have their bytes behind them. */
#define PLACE_COLUMNS 14
#define NAME_COLUMNS  26
#define VALUE_COLUMNS 40
#define VALUE_LEAST   16
/* What the bytes of a number take: two blanks, brackets and 16 digits. */
#define BYTES_COLUMNS 20
/* How far the lines of a problem are indented behind the first. */
#define HANGING 8

static void set_title(struct text_emitter *e, const char *title, uint64_t index)
{
	const size_t most = sizeof(e->title) - TEXT_NUMBER_MAX;
	size_t size = strlen(title);

	size = size < most ? size : most;
	memcpy(e->title, title, size);
	e->title[size] = '\0';
	if (index != QCOW2_NO_INDEX)
		text_number(e->title + size, " ", 10, index);
}

/* A heading is printed when something comes below it, the innermost one only. */
static void write_title(struct text_emitter *e)
{
	const char *bold = e->options.colour ? "\033[1m" : "";
	const char *plain = e->options.colour ? "\033[0m" : "";

	if (e->title[0]) {
		spool_text(e->out, e->started ? "\n" : "");
		spool_text(e->out, bold);
		spool_text(e->out, e->title);
		spool_text(e->out, ":");
		spool_line(e->out, plain);
	}
	e->title[0] = '\0';
	e->started = true;
}

/* The column in which bytes begin that stand behind a value which begins at `start`. */
static unsigned bytes_column(const struct text_emitter *e, unsigned start)
{
	unsigned least = start + VALUE_LEAST, most = start + VALUE_COLUMNS, fits;

	if (e->options.columns == 0)
		return most;
	fits = e->options.columns > BYTES_COLUMNS ? e->options.columns - BYTES_COLUMNS : 0;
	return fits > most ? most : fits < least ? least : fits;
}

/* Whether digits of `size` bytes in brackets fit a line from a column on. */
static bool fits_line(const struct text_emitter *e, unsigned column, size_t size)
{
	return e->options.columns == 0 || column + 2 * size + 2 <= e->options.columns;
}

/*
 * Writes a value, which begins at column `start`, and the bytes that were asked for behind it, or
 * below it if there is no room.
 */
static void write_with_bytes(struct text_emitter *e, const struct qcow2_value *value,
			     const char *text, unsigned start)
{
	unsigned columns = start + text_columns(text), column = bytes_column(e, start);
	char hex[2 * TEXT_HEX_IN_LINE + 1];

	text_hex(hex, value->raw);
	column = columns < column ? column : columns;
	if (fits_line(e, column + 2, value->raw.size)) {
		spool_text(e->out, text);
		spool_fill(e->out, ' ', column + 2 - columns);
		spool_print(e->out, "[%s]\n", hex);
		return;
	}
	wrap_rest(e->out, text, start, start, e->options.columns);
	if (fits_line(e, start, value->raw.size)) {
		spool_fill(e->out, ' ', start);
		spool_print(e->out, "[%s]\n", hex);
	} else {
		text_hex_rows(e->out, value->offset_bytes, value->raw);
	}
}

/* Writes a value, which begins at column `start`, with its bytes if they were asked for. */
static void write_value(struct text_emitter *e, const struct qcow2_value *value, unsigned start)
{
	bool bytes = value->kind == QCOW2_VALUE_BYTES;
	struct qcow2_bytes rows = bytes             ? value->bytes
				  : !e->options.hex ? (struct qcow2_bytes){NULL, 0}
						    : value->raw;
	char text[TEXT_VALUE_MAX];

	text_value(text, sizeof(text), value);
	if (!bytes && rows.size > 0 && rows.size <= TEXT_HEX_IN_LINE) {
		write_with_bytes(e, value, text, start);
		return;
	}
	if (bytes && rows.size <= TEXT_HEX_IN_LINE && fits_line(e, start, rows.size))
		rows.size = 0;
	else if (bytes)
		snprintf(text, sizeof(text), "%zu bytes", rows.size);
	if (e->options.columns > 0)
		wrap_rest(e->out, text, start, start, e->options.columns);
	else
		spool_line(e->out, text);
	if (rows.size > 0)
		text_hex_rows(e->out, value->offset_bytes, rows);
}

/* Where the value is, its name, and what it is. */
static void write_line(struct text_emitter *e, const struct qcow2_value *value)
{
	unsigned names = (unsigned)strlen(value->name),
		 start = e->options.offsets ? PLACE_COLUMNS : 0;

	write_title(e);
	if (e->options.offsets && value->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(e->out, "0x%010" PRIx64 "  ", value->offset_bytes);
	else
		spool_fill(e->out, ' ', start);
	spool_text(e->out, value->name);
	spool_fill(e->out, ' ', names < NAME_COLUMNS - 1 ? NAME_COLUMNS - names : 1);
	write_value(e, value, start + (names < NAME_COLUMNS ? NAME_COLUMNS : names + 1));
}

static void cell(struct text_emitter *e, const struct qcow2_value *value)
{
	char text[TEXT_VALUE_MAX];
	char extra[2 * TEXT_HEX_IN_LINE + 24];
	bool placed = value->raw.size > 0 && value->raw.size <= TEXT_HEX_IN_LINE;
	/* A number may be bits of a byte that others share: it has a place, but no bytes. */
	bool shared = value->kind == QCOW2_VALUE_NUMBER && value->raw.size == 0;

	if (e->options.offsets && (placed || shared) && value->offset_bytes != QCOW2_NO_OFFSET) {
		snprintf(extra, sizeof(extra), "0x%010" PRIx64, value->offset_bytes);
		text_table_cell(&e->table, "at", extra);
	}
	if (value->kind == QCOW2_VALUE_NULL)
		snprintf(text, sizeof(text), "-");
	else
		text_value(text, sizeof(text), value);
	text_table_cell(&e->table, value->name, text);
	if (e->options.hex && placed) {
		text_hex(extra, value->raw);
		text_table_cell(&e->table, "bytes", extra);
	}
}

static void begin_row(struct text_emitter *e, const struct qcow2_node *node)
{
	struct text_table *t = &e->table;

	e->in_row = true;
	e->skipping = node->repeats && t->pending && node->index == t->last + 1;
	if (e->skipping)
		return;
	text_table_flush(t);
	write_title(e);
	text_table_begin_row(t, node->title ? node->title : "index", node->index);
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	progress_step(e->options.progress, e->out->written + e->out->size);
	if (node->layout == QCOW2_LAYOUT_ROW) {
		begin_row(e, node);
	} else {
		if (e->depth++ == 0) {
			e->table.out = e->out;
			e->table.columns = e->options.columns;
		}
		text_table_end(&e->table);
		if (node->title)
			set_title(e, node->title, node->index);
	}
	return e->out->errnum;
}

static int end_struct(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	if (node->layout == QCOW2_LAYOUT_ROW) {
		e->in_row = false;
		e->table.last = node->index;
	} else {
		e->depth--;
	}
	return e->out->errnum;
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	text_table_end(&e->table);
	if (node->title)
		set_title(e, node->title, node->index);
	return e->out->errnum;
}

/* A heading over nothing is dropped with its list, lest it get what comes next. */
static int end_list(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	text_table_end(&e->table);
	if (node->title)
		e->title[0] = '\0';
	return e->out->errnum;
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct text_emitter *e = opaque;

	if (value->audience == QCOW2_FOR_PROGRAMS)
		return 0;
	/* What is said of whole sections stands apart from the block before. */
	if (value->audience == QCOW2_FOR_PEOPLE && e->depth == 1 && !e->apart) {
		spool_text(e->out, e->started ? "\n" : "");
		e->apart = true;
	}
	if (e->in_row && !e->skipping)
		cell(e, value);
	else if (!e->in_row)
		write_line(e, value);
	return e->out->errnum;
}

static int problem(void *opaque, const struct qcow2_problem *problem)
{
	struct text_emitter *e = opaque;

	problem_log_add(e->problems, problem);
	return 0;
}

#define VISITOR                                                                                    \
	.size = sizeof(struct qcow2_visitor), .begin_struct = begin_struct,                        \
	.end_struct = end_struct, .begin_list = begin_list, .end_list = end_list, .field = field,  \
	.problem = problem

const struct qcow2_visitor text_visitor = {VISITOR};

static int add_rows(void *opaque, const struct qcow2_rows *rows)
{
	struct text_emitter *e = opaque;

	progress_steps(e->options.progress, rows->count, e->out->written + e->out->size);
	rows_add_text(e, rows, &text_visitor);
	return e->out->errnum;
}

const struct qcow2_visitor text_rows_visitor = {VISITOR, .rows = add_rows};

static void write_problem(const struct text_emitter *e, const struct qcow2_problem *problem)
{
	struct spool line;

	if (e->options.columns == 0) {
		problem_print(e->out, problem, e->options.colour);
		spool_text(e->out, "\n");
		return;
	}
	spool_init(&line, -1);
	problem_print(&line, problem, e->options.colour);
	wrap_spool(e->out, &line, 0, HANGING, e->options.columns);
	spool_release(&line);
}

void text_emitter_finish(struct text_emitter *e)
{
	const struct problem_log *log = e->problems;
	const struct qcow2_problem_kind *kind = NULL;

	if (log->count == 0) {
		if (!e->started)
			spool_text(e->out, "none\n");
		return;
	}
	set_title(e, "Problems", QCOW2_NO_INDEX);
	write_title(e);
	for (size_t i = 0; i < log->count; i++)
		write_problem(e, log->kept[i]);
	while ((kind = qcow2_problem_kind_next(kind)))
		if (problem_log_omitted(log, kind) > 0)
			spool_print(e->out, "… and %" PRIu64 " more of %s\n",
				    problem_log_omitted(log, kind), kind->id);
}
