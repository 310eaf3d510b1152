/* SPDX-License-Identifier: MIT */
/* See html_emitter.h. */
#include "out/html_emitter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/bounded.h"
#include "out/html.h"
#include "out/human.h"
#include "out/text_value.h"

/* The bytes of a name that stands beside the heading of its structure. */
#define LABEL_SHOWN 60

void html_emitter_init(struct html_emitter *e, struct spool *out, const char *command)
{
	*e = (struct html_emitter){.out = out, .command = command};
	spool_init(&e->body, -1);
	spool_init(&e->heads, -1);
	spool_init(&e->cells, -1);
	spool_init(&e->bytes, -1);
	spool_init(&e->columns, -1);
}

/* A failure of any part is one of the page. */
static int failure(struct html_emitter *e)
{
	const struct spool *parts[] = {&e->body, &e->heads, &e->cells, &e->bytes, &e->columns};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i]->errnum && !e->out->errnum)
			e->out->errnum = parts[i]->errnum;
	return e->out->errnum;
}

/* ---- tables ---- */

/* Ends a run of rows that are alike. */
static void end_same(struct html_emitter *e)
{
	if (e->same > 0)
		spool_print(&e->body,
			    "<tr class=\"same\"><td colspan=\"%u\">… up to %" PRIu64
			    " the same</td></tr>\n",
			    e->column_count, e->row);
	e->same = 0;
}

static void end_table(struct html_emitter *e)
{
	if (e->table == HTML_ROWS)
		end_same(e);
	if (e->table != HTML_NO_TABLE)
		html_end_table(&e->body);
	e->table = HTML_NO_TABLE;
}

static void begin_fields(struct html_emitter *e)
{
	static const char *const headings[] = {"Offset", "Field", "Value", "Bytes"};
	char caption[HTML_TITLE_MAX + 16];

	if (e->table == HTML_FIELDS)
		return;
	end_table(e);
	snprintf(caption, sizeof(caption), "Fields: %s", e->title);
	html_begin_table(&e->body, "fields", caption);
	html_head(&e->body, headings, sizeof(headings) / sizeof(headings[0]));
	e->table = HTML_FIELDS;
}

/* The table of rows, which ends where rows have other columns. */
static void begin_rows(struct html_emitter *e)
{
	char caption[HTML_TITLE_MAX + 16];

	if (e->table == HTML_ROWS && e->columns.size == e->heads.size &&
	    memcmp(e->columns.kept, e->heads.kept, e->heads.size) == 0)
		return;
	end_table(e);
	snprintf(caption, sizeof(caption), "Entries: %s", e->title);
	html_begin_table(&e->body, "rows", caption);
	spool_text(&e->body, "<thead><tr><th scope=\"col\" class=\"number\">Index</th>"
			     "<th scope=\"col\">Offset</th>");
	spool_add(&e->body, &e->heads);
	spool_text(&e->body, "<th scope=\"col\">Bytes</th></tr></thead>\n<tbody>\n");
	e->columns.size = 0;
	spool_add(&e->columns, &e->heads);
	e->table = HTML_ROWS;
}

/* ---- structures ---- */

static void close_structure(struct html_emitter *e)
{
	end_table(e);
	if (e->body.size > 0) {
		spool_text(e->out, "<details><summary><h3>");
		html_text(e->out, e->title);
		spool_text(e->out, "</h3>");
		if (e->label[0]) {
			spool_text(e->out, " <span class=\"label\"><bdi>");
			html_text(e->out, e->label);
			spool_text(e->out, "</bdi></span>");
		}
		if (e->offset_bytes != QCOW2_NO_OFFSET)
			spool_print(e->out,
				    " <span class=\"place\">at <code>0x%" PRIx64 "</code></span>",
				    e->offset_bytes);
		spool_text(e->out, "</summary>\n");
		spool_add(e->out, &e->body);
		spool_text(e->out, "</details>\n");
		e->shown++;
	}
	e->body.size = 0;
}

static void open_structure(struct html_emitter *e, const struct qcow2_node *node)
{
	close_structure(e);
	e->label[0] = '\0';
	e->labelled = false;
	e->values = 0;
	e->offset_bytes = node->offset_bytes;
	if (node->index != QCOW2_NO_INDEX)
		snprintf(e->title, sizeof(e->title), "%.120s %" PRIu64, node->title, node->index);
	else
		snprintf(e->title, sizeof(e->title), "%.150s", node->title);
}

static void begin_row(struct html_emitter *e, const struct qcow2_node *node)
{
	e->in_row = true;
	e->skipping = node->repeats && e->table == HTML_ROWS && node->index == e->row + 1;
	if (e->skipping)
		e->same++;
	else if (e->table == HTML_ROWS)
		end_same(e);
	e->row = node->index;
	e->row_offset_bytes = node->offset_bytes;
	e->heads.size = e->cells.size = e->bytes.size = 0;
	e->column_count = 3;
}

static void end_row(struct html_emitter *e)
{
	e->in_row = false;
	if (e->skipping)
		return;
	begin_rows(e);
	spool_print(&e->body, "<tr><th scope=\"row\" class=\"number\">%" PRIu64 "</th><td>",
		    e->row);
	if (e->row_offset_bytes != QCOW2_NO_OFFSET)
		html_offset(&e->body, e->row_offset_bytes);
	spool_text(&e->body, "</td>");
	spool_add(&e->body, &e->cells);
	spool_text(&e->body, "<td><code>");
	spool_add(&e->body, &e->bytes);
	spool_text(&e->body, "</code></td></tr>\n");
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct html_emitter *e = opaque;

	if (node->layout == QCOW2_LAYOUT_ROW)
		begin_row(e, node);
	else if (node->title)
		open_structure(e, node);
	return failure(e);
}

static int end_struct(void *opaque, const struct qcow2_node *node)
{
	struct html_emitter *e = opaque;

	e->after_row = node->layout == QCOW2_LAYOUT_ROW;
	if (e->after_row)
		end_row(e);
	return failure(e);
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	struct html_emitter *e = opaque;

	end_table(e);
	if (node->title)
		open_structure(e, node);
	return failure(e);
}

static int end_list(void *opaque, const struct qcow2_node *node)
{
	struct html_emitter *e = opaque;

	(void)node;
	end_table(e);
	return failure(e);
}

/* ---- values ---- */

/* Keeps what tells a structure from its like: its name, else what its first value stands for. */
static void take_label(struct html_emitter *e, const struct qcow2_value *value)
{
	const char *name;

	if (value->kind == QCOW2_VALUE_TEXT && strcmp(value->name, "name") == 0 && !e->labelled) {
		struct qcow2_bytes shown = human_cut(value->bytes, LABEL_SHOWN);

		qcow2_text_escape(shown, e->label, sizeof(e->label) - sizeof("…"));
		if (shown.size < value->bytes.size)
			strcat(e->label, "…");
		e->labelled = true;
	} else if (e->values == 0 && value->kind == QCOW2_VALUE_NUMBER && value->names &&
		   !value->names->bits) {
		name = qcow2_names_find(value->names, value->number);
		snprintf(e->label, sizeof(e->label), "%s", name ? name : "");
	}
	e->values++;
}

/* What is shown of a value; what does not fit a line comes below it. */
static void write_value(struct spool *out, const struct qcow2_value *value)
{
	char text[TEXT_VALUE_MAX];

	text_value(text, sizeof(text), value);
	if (value->kind == QCOW2_VALUE_TEXT) {
		spool_text(out, "<bdi>");
		html_text(out, text);
		spool_text(out, "</bdi>");
	} else {
		html_text(out, text);
	}
}

static void write_hex(struct spool *out, struct qcow2_bytes raw)
{
	char hex[2 * TEXT_HEX_IN_LINE + 1];

	if (raw.size == 0 || raw.size > TEXT_HEX_IN_LINE)
		return;
	text_hex(hex, raw);
	spool_text(out, hex);
}

/* Many bytes are rows of 16, as hex and as characters. */
static void write_hex_rows(struct html_emitter *e, const struct qcow2_value *value)
{
	const struct qcow2_bytes bytes = value->raw.size > 0 ? value->raw : value->bytes;
	struct spool rows;

	spool_init(&rows, -1);
	text_hex_rows(&rows, value->offset_bytes, bytes);
	spool_write(&rows, "", 1);
	spool_text(&e->body, "<tr class=\"dump\"><td colspan=\"4\"><pre>");
	if (rows.errnum)
		e->body.errnum = rows.errnum;
	else
		html_text(&e->body, rows.kept);
	spool_text(&e->body, "</pre></td></tr>\n");
	spool_release(&rows);
}

static void write_field(struct html_emitter *e, const struct qcow2_value *value)
{
	take_label(e, value);
	begin_fields(e);
	spool_text(&e->body, "<tr><td>");
	if (value->offset_bytes != QCOW2_NO_OFFSET)
		html_offset(&e->body, value->offset_bytes);
	spool_text(&e->body, "</td><th scope=\"row\"><code>");
	html_text(&e->body, value->name);
	spool_text(&e->body, "</code></th><td>");
	write_value(&e->body, value);
	spool_text(&e->body, "</td><td><code>");
	write_hex(&e->body, value->raw);
	spool_text(&e->body, "</code></td></tr>\n");
	if (value->raw.size > TEXT_HEX_IN_LINE ||
	    (value->kind == QCOW2_VALUE_BYTES && value->bytes.size > TEXT_HEX_IN_LINE))
		write_hex_rows(e, value);
}

static void write_cell(struct html_emitter *e, const struct qcow2_value *value)
{
	spool_text(&e->heads, "<th scope=\"col\">");
	html_text(&e->heads, value->name);
	spool_text(&e->heads, "</th>");
	spool_text(&e->cells, "<td>");
	write_value(&e->cells, value);
	spool_text(&e->cells, "</td>");
	if (e->bytes.size > 0 && value->raw.size > 0)
		spool_text(&e->bytes, " ");
	write_hex(&e->bytes, value->raw);
	if (e->row_offset_bytes == QCOW2_NO_OFFSET && value->raw.size > 0)
		e->row_offset_bytes = value->offset_bytes;
	e->column_count++;
}

/* Of rows it is said below their table, of structures behind the last of them. */
static void write_omitted(struct html_emitter *e, uint64_t count)
{
	struct spool *out = e->after_row ? &e->body : e->out;

	if (e->after_row)
		end_table(e);
	else
		close_structure(e);
	spool_print(out, "<p class=\"more\">… and %" PRIu64 " more: ", count);
	html_command(out, e->command);
	spool_text(out, " shows all</p>\n");
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct html_emitter *e = opaque;

	if (value->audience == QCOW2_FOR_PROGRAMS)
		return failure(e);
	if (e->in_row && !e->skipping)
		write_cell(e, value);
	else if (!e->in_row && bounded_is_omitted(value->name))
		write_omitted(e, value->number);
	else if (!e->in_row)
		write_field(e, value);
	return failure(e);
}

const struct qcow2_visitor html_visitor = {
	.size = sizeof(struct qcow2_visitor),
	.begin_struct = begin_struct,
	.end_struct = end_struct,
	.begin_list = begin_list,
	.end_list = end_list,
	.field = field,
};

void html_emitter_finish(struct html_emitter *e)
{
	close_structure(e);
	(void)failure(e);
	spool_release(&e->body);
	spool_release(&e->heads);
	spool_release(&e->cells);
	spool_release(&e->bytes);
	spool_release(&e->columns);
}
