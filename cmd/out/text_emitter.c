/* SPDX-License-Identifier: MIT */
/*
 * Shows a walk as text: headed blocks of "name value" lines, and lists of rows as tables.
 */
#include "out/emitter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/text_value.h"

/* Where values end that have their bytes after them. */
#define VALUE_COLUMNS 40

static void set_title(struct text_emitter *e, const char *title, uint64_t index)
{
	if (index == QCOW2_NO_INDEX)
		snprintf(e->title, sizeof(e->title), "%s", title);
	else
		snprintf(e->title, sizeof(e->title), "%s %" PRIu64, title, index);
}

/* A heading is printed when something comes below it, the innermost one only. */
static void write_title(struct text_emitter *e)
{
	const char *bold = e->options.colour ? "\033[1m" : "";
	const char *plain = e->options.colour ? "\033[0m" : "";

	if (e->title[0])
		spool_print(e->out, "%s%s%s:%s\n", e->started ? "\n" : "", bold, e->title, plain);
	e->title[0] = '\0';
	e->started = true;
}

/* Columns that a text of ASCII or UTF-8 takes; escaping left nothing else in it. */
static unsigned width(const char *text)
{
	unsigned columns = 0;

	for (; *text; text++)
		columns += ((unsigned char)*text & 0xc0) != 0x80;
	return columns;
}

static void write_blanks(struct spool *out, unsigned count)
{
	spool_fill(out, ' ', count);
}

/* Bytes that were asked for go after the value, or below it if there are many. */
static void write_bytes(struct text_emitter *e, const struct qcow2_value *value, const char *text)
{
	bool bytes = value->kind == QCOW2_VALUE_BYTES;
	bool wanted = e->options.hex && value->raw.size > 0;
	char hex[2 * TEXT_HEX_IN_LINE + 1];

	if (wanted && !bytes && value->raw.size <= TEXT_HEX_IN_LINE) {
		text_hex(hex, value->raw);
		if (width(text) < VALUE_COLUMNS)
			write_blanks(e->out, VALUE_COLUMNS - width(text));
		spool_print(e->out, "  [%s]", hex);
	}
	spool_text(e->out, "\n");
	if (bytes ? value->bytes.size > TEXT_HEX_IN_LINE
		  : wanted && value->raw.size > TEXT_HEX_IN_LINE)
		text_hex_rows(e->out, value->offset_bytes, bytes ? value->bytes : value->raw);
}

/* Where the value is, its name, and what it is. */
static void write_line(struct text_emitter *e, const struct qcow2_value *value)
{
	char text[TEXT_VALUE_MAX];
	unsigned names = (unsigned)strlen(value->name);

	text_value(text, sizeof(text), value);
	write_title(e);
	if (e->options.offsets && value->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(e->out, "0x%010" PRIx64 "  ", value->offset_bytes);
	else if (e->options.offsets)
		write_blanks(e->out, 14);
	spool_text(e->out, value->name);
	write_blanks(e->out, names < 25 ? 26 - names : 1);
	spool_text(e->out, text);
	write_bytes(e, value, text);
}

static void add_cell(struct text_table *t, const char *name, const char *text)
{
	size_t size = strlen(text) + 1;

	if (t->columns == TEXT_COLUMNS_MAX || t->row_size + size > sizeof(t->row))
		return;
	if (!t->heading) {
		bool wide = strcmp(name, "entry") == 0 || strcmp(name, "bytes") == 0;

		snprintf(t->names[t->columns], sizeof(t->names[0]), "%s", name);
		t->widths[t->columns] = wide ? 20 : 16;
	}
	t->cells[t->columns] = t->row_size;
	memcpy(t->row + t->row_size, text, size);
	t->row_size += size;
	t->columns++;
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
		add_cell(&e->table, "at", extra);
	}
	if (value->kind == QCOW2_VALUE_NULL)
		snprintf(text, sizeof(text), "-");
	else
		text_value(text, sizeof(text), value);
	add_cell(&e->table, value->name, text);
	if (e->options.hex && placed) {
		text_hex(extra, value->raw);
		add_cell(&e->table, "bytes", extra);
	}
}

static void write_row(struct text_emitter *e, const char *first, bool names)
{
	const struct text_table *t = &e->table;
	unsigned filled = width(first), column = 15;

	spool_text(e->out, first);
	for (size_t i = 0; i < t->columns; i++) {
		const char *text = names ? t->names[i] : t->row + t->cells[i];

		write_blanks(e->out, filled < column ? column - filled : 1);
		spool_text(e->out, text);
		filled = width(text);
		column = t->widths[i] + 1;
	}
	spool_text(e->out, "\n");
}

/* Prints the row that waits, once it is known how many rows repeat it. */
static void flush_rows(struct text_emitter *e)
{
	struct text_table *t = &e->table;
	char numbers[48];

	if (!t->pending)
		return;
	write_title(e);
	if (!t->heading)
		write_row(e, t->title, true);
	t->heading = true;
	t->pending = false;
	text_number(numbers, "", 10, t->first);
	if (t->first != t->last)
		text_number(numbers + strlen(numbers), "..", 10, t->last);
	write_row(e, numbers, false);
}

static void begin_row(struct text_emitter *e, const struct qcow2_node *node)
{
	struct text_table *t = &e->table;

	t->in_row = true;
	t->skipping = node->repeats && t->pending && node->index == t->last + 1;
	if (t->skipping)
		return;
	flush_rows(e);
	if (!t->heading)
		snprintf(t->title, sizeof(t->title), "%s", node->title ? node->title : "index");
	t->columns = 0;
	t->row_size = 0;
	t->first = node->index;
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	progress_step(e->options.progress, e->out->written + e->out->size);
	if (node->layout == QCOW2_LAYOUT_ROW) {
		begin_row(e, node);
	} else {
		flush_rows(e);
		if (node->title)
			set_title(e, node->title, node->index);
	}
	return e->out->errnum;
}

static int end_struct(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	if (node->layout == QCOW2_LAYOUT_ROW) {
		e->table.in_row = false;
		e->table.pending = true;
		e->table.last = node->index;
	}
	return e->out->errnum;
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	flush_rows(e);
	e->table.heading = false;
	if (node->title)
		set_title(e, node->title, node->index);
	return e->out->errnum;
}

/* A heading over nothing is dropped with its list, lest it get what comes next. */
static int end_list(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	flush_rows(e);
	if (node->title)
		e->title[0] = '\0';
	return e->out->errnum;
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct text_emitter *e = opaque;

	if (value->audience == QCOW2_FOR_PROGRAMS)
		return 0;
	if (!e->table.in_row)
		write_line(e, value);
	else if (!e->table.skipping)
		cell(e, value);
	return e->out->errnum;
}

static int problem(void *opaque, const struct qcow2_problem *problem)
{
	struct text_emitter *e = opaque;

	problem_log_add(e->problems, problem);
	return 0;
}

const struct qcow2_visitor text_visitor = {
	.size = sizeof(text_visitor),
	.begin_struct = begin_struct,
	.end_struct = end_struct,
	.begin_list = begin_list,
	.end_list = end_list,
	.field = field,
	.problem = problem,
};

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
	for (size_t i = 0; i < log->count; i++) {
		problem_print(e->out, log->kept[i], e->options.colour);
		spool_text(e->out, "\n");
	}
	while ((kind = qcow2_problem_kind_next(kind)))
		if (problem_log_seen(log, kind) > PROBLEMS_KEPT)
			spool_print(e->out, "… and %" PRIu64 " more of %s\n",
				    problem_log_seen(log, kind) - PROBLEMS_KEPT, kind->id);
}
