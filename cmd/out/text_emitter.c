/* SPDX-License-Identifier: MIT */
/*
 * Shows a walk as text: headed blocks of "name value" lines, and lists of rows as tables whose
 * heading comes from the first row. Bytes of the image are escaped before they get here or here.
 */
#include "out/emitter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/human.h"

#include <qcow2/text.h>

#define BYTES_SHOWN 64
#define TEXT_SHOWN  1024
#define VALUE_MAX   (TEXT_SHOWN * 4 + 256)

static void write_hex(char *out, struct qcow2_bytes bytes, size_t most)
{
	static const char digits[] = "0123456789abcdef";
	size_t size = bytes.size < most ? bytes.size : most;

	for (size_t i = 0; i < size; i++) {
		*out++ = digits[bytes.data[i] >> 4];
		*out++ = digits[bytes.data[i] & 15];
	}
	*out = '\0';
}

/* " (auto, bit 5)": the names of the bits that are set. */
static void append_bits(char *out, size_t size, const struct qcow2_value *value)
{
	const char *before = " (";
	size_t at = strlen(out);

	for (uint64_t rest = value->number; rest != 0 && at + 64 < size; rest &= rest - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(rest);
		const char *name = qcow2_names_find(value->names, bit);

		at += (size_t)(name ? snprintf(out + at, size - at, "%s%s", before, name)
				    : snprintf(out + at, size - at, "%sbit %u", before, bit));
		before = ", ";
	}
	if (value->number != 0)
		snprintf(out + at, size - at, ")");
}

static void format_number(char *out, size_t size, const struct qcow2_value *value)
{
	uint64_t n = value->number;
	const char *name =
		value->names && !value->names->bits ? qcow2_names_find(value->names, n) : NULL;
	char human[HUMAN_MAX];

	switch (value->style) {
	case QCOW2_STYLE_SIZE:
		snprintf(out, size, "%" PRIu64 " (%s)", n, human_size(n, human));
		break;
	case QCOW2_STYLE_HEX_SIZE:
		snprintf(out, size, "0x%" PRIx64 " (%s)", n, human_size(n, human));
		break;
	case QCOW2_STYLE_FLAGS:
		snprintf(out, size, "0x%" PRIx64, n);
		append_bits(out, size, value);
		break;
	case QCOW2_STYLE_ENUM:
		snprintf(out, size, "%" PRIu64 " (%s)", n, name ? name : "unknown");
		break;
	case QCOW2_STYLE_ENUM_HEX:
		snprintf(out, size, "0x%" PRIx64 " (%s)", n, name ? name : "unknown");
		break;
	case QCOW2_STYLE_HEX:
	case QCOW2_STYLE_MAGIC:
		snprintf(out, size, "0x%" PRIx64, n);
		break;
	case QCOW2_STYLE_GRANULARITY:
		snprintf(out, size, "%" PRIu64 " (%s)", n,
			 n < 64 ? human_size(UINT64_C(1) << n, human) : "impossible");
		break;
	case QCOW2_STYLE_TIME:
		snprintf(out, size, "%" PRIu64 " (%s)", n, human_time(n, human));
		break;
	case QCOW2_STYLE_NANOSECONDS:
		snprintf(out, size, "%" PRIu64 " (%s)", n, human_duration(n, human));
		break;
	default:
		snprintf(out, size, "%" PRIu64, n);
		break;
	}
}

static void format_text(char *out, size_t size, struct qcow2_bytes bytes)
{
	struct qcow2_bytes shown = bytes;

	if (shown.size > TEXT_SHOWN)
		shown.size = TEXT_SHOWN;
	qcow2_text_escape(shown, out, size - 64);
	if (bytes.size > shown.size)
		snprintf(out + strlen(out), 64, "… (%zu bytes)", bytes.size);
}

static void format_value(char *out, size_t size, const struct qcow2_value *value)
{
	switch (value->kind) {
	case QCOW2_VALUE_NUMBER:
		format_number(out, size, value);
		break;
	case QCOW2_VALUE_BOOL:
		snprintf(out, size, "%s", value->number ? "yes" : "no");
		break;
	case QCOW2_VALUE_NULL:
		snprintf(out, size, "not known");
		break;
	case QCOW2_VALUE_TEXT:
		format_text(out, size, value->bytes);
		break;
	case QCOW2_VALUE_BYTES:
		write_hex(out, value->bytes, BYTES_SHOWN);
		if (value->bytes.size > BYTES_SHOWN)
			snprintf(out + 2 * BYTES_SHOWN, 64, "… (%zu bytes)", value->bytes.size);
		break;
	}
}

/* Where the value is, and its bytes after it, if that was asked for. */
static void write_line(struct text_emitter *e, const struct qcow2_value *value, const char *text)
{
	char hex[2 * BYTES_SHOWN + 1];

	if (e->options.offsets && value->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(e->out, "0x%010" PRIx64 "  ", value->offset_bytes);
	else if (e->options.offsets)
		spool_print(e->out, "%14s", "");
	spool_print(e->out, "%-25s ", value->name);
	spool_text(e->out, text);
	if (e->options.hex && value->raw.size > 0) {
		write_hex(hex, value->raw, BYTES_SHOWN);
		spool_print(e->out, "  [%s%s]", hex, value->raw.size > BYTES_SHOWN ? "…" : "");
	}
	spool_text(e->out, "\n");
	e->started = true;
}

static void add_cell(struct text_emitter *e, const char *name, const char *text)
{
	size_t size = strlen(text) + 1;

	if (e->columns == ROW_COLUMNS_MAX || e->row_size + size > sizeof(e->row))
		return;
	snprintf(e->names[e->columns], sizeof(e->names[0]), "%s", name);
	e->cells[e->columns] = e->row_size;
	memcpy(e->row + e->row_size, text, size);
	e->row_size += size;
	e->columns++;
}

/* Cells of a row are plain numbers: names and units would not line up. */
static void cell(struct text_emitter *e, const struct qcow2_value *value)
{
	char text[VALUE_MAX];
	char extra[2 * BYTES_SHOWN + 24];

	format_value(text, sizeof(text), value);
	if (e->options.offsets && value->offset_bytes != QCOW2_NO_OFFSET && value->raw.size > 0) {
		snprintf(extra, sizeof(extra), "0x%010" PRIx64, value->offset_bytes);
		add_cell(e, "at", extra);
	}
	add_cell(e, value->name, text);
	if (e->options.hex && value->raw.size > 0) {
		write_hex(extra, value->raw, BYTES_SHOWN);
		add_cell(e, "bytes", extra);
	}
}

static unsigned column_width(const char *name)
{
	bool wide = strcmp(name, "entry") == 0 || strcmp(name, "bytes") == 0;

	return wide ? 20 : 16;
}

static void write_row(struct text_emitter *e, const char *first, bool names)
{
	spool_print(e->out, "%-14s", first);
	for (size_t i = 0; i < e->columns; i++) {
		const char *text = names ? e->names[i] : e->row + e->cells[i];

		spool_text(e->out, " ");
		spool_text(e->out, text);
		for (size_t size = strlen(text);
		     i + 1 < e->columns && size < column_width(e->names[i]); size++)
			spool_write(e->out, " ", 1);
	}
	spool_text(e->out, "\n");
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;
	const char *bold = e->options.colour ? "\033[1m" : "";
	const char *plain = e->options.colour ? "\033[0m" : "";

	if (node->layout == QCOW2_LAYOUT_ROW) {
		e->in_row = true;
		e->columns = 0;
		e->row_size = 0;
		e->row_index = node->index;
	} else if (node->title) {
		spool_print(e->out, "%s%s%s:%s\n", e->started ? "\n" : "", bold, node->title,
			    plain);
		e->started = true;
	}
	return e->out->errnum;
}

static int end_struct(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;
	char index[24];

	if (node->layout != QCOW2_LAYOUT_ROW)
		return e->out->errnum;
	e->in_row = false;
	if (!e->row_heading)
		write_row(e, "index", true);
	e->row_heading = true;
	snprintf(index, sizeof(index), "%" PRIu64, e->row_index);
	write_row(e, index, false);
	e->started = true;
	return e->out->errnum;
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;
	struct qcow2_node heading = *node;

	heading.layout = QCOW2_LAYOUT_BLOCK;
	e->row_heading = false;
	return begin_struct(opaque, &heading);
}

static int end_list(void *opaque, const struct qcow2_node *node)
{
	struct text_emitter *e = opaque;

	if (node->title && !e->row_heading)
		spool_text(e->out, "none\n");
	e->row_heading = true;
	return e->out->errnum;
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct text_emitter *e = opaque;
	char text[VALUE_MAX];

	if (value->audience == QCOW2_FOR_PROGRAMS)
		return 0;
	if (e->in_row) {
		cell(e, value);
		return 0;
	}
	format_value(text, sizeof(text), value);
	write_line(e, value, text);
	return e->out->errnum;
}

static int problem(void *opaque, const struct qcow2_problem *problem)
{
	struct text_emitter *e = opaque;

	problem_log_add(e->problems, problem);
	return 0;
}

const struct qcow2_visitor text_visitor = {
	.begin_struct = begin_struct,
	.end_struct = end_struct,
	.begin_list = begin_list,
	.end_list = end_list,
	.field = field,
	.problem = problem,
};

void text_emitter_problems(struct text_emitter *e)
{
	const struct problem_log *log = e->problems;
	size_t kinds;
	const struct qcow2_problem_kind *kind = qcow2_problem_kinds(&kinds);

	if (log->count == 0)
		return;
	spool_print(e->out, "%s%sProblems:%s\n", e->started ? "\n" : "",
		    e->options.colour ? "\033[1m" : "", e->options.colour ? "\033[0m" : "");
	for (size_t i = 0; i < log->count; i++) {
		problem_print(e->out, &log->kept[i], e->options.colour);
		spool_text(e->out, "\n");
	}
	for (size_t i = 0; i < kinds; i++)
		if (log->seen[i] > PROBLEMS_KEPT)
			spool_print(e->out, "… and %" PRIu64 " more of %s\n",
				    log->seen[i] - PROBLEMS_KEPT, kind[i].id);
}
