/* SPDX-License-Identifier: MIT */
/*
 * The page of differences for people: a line each, old and new value. What only one image has is a
 * line and, below it, one for each of its fields.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff/run.h"
#include "out/text_value.h"
#include "out/wrap.h"

/* Columns in front of what goes on below, of fields of an element, and of their values. */
#define HANGING     4
#define FIELD_START 4
#define FIELD_WIDTH 30
/* So many fields of an element are shown; only feature name tables have more. */
#define FIELDS_MAX 24

static const char *colour(const struct diff_run *run, enum qcow2_diff_side side)
{
	if (!run->colour)
		return "";
	return side == QCOW2_DIFF_A ? "\033[31m" : "\033[32m";
}

static const char *plain(const struct diff_run *run)
{
	return run->colour ? "\033[0m" : "";
}

/* Ends a line. What does not fit the terminal goes on below, behind so many blanks. */
static int end_line(struct diff_run *run, unsigned hanging)
{
	if (run->columns == 0) {
		spool_write(&run->out, run->line.kept, run->line.size);
		spool_text(&run->out, "\n");
		run->line.size = 0;
		return run->out.errnum | run->line.errnum;
	}
	wrap_spool(&run->out, &run->line, 0, hanging, run->columns);
	return run->out.errnum;
}

static void add_side(struct diff_run *run, enum qcow2_diff_side side, const char *text)
{
	spool_text(&run->line, colour(run, side));
	spool_text(&run->line, text);
	spool_text(&run->line, plain(run));
}

static void add_both(struct diff_run *run, const char *a, const char *b)
{
	spool_text(&run->line, ": ");
	add_side(run, QCOW2_DIFF_A, a);
	spool_text(&run->line, " → ");
	add_side(run, QCOW2_DIFF_B, b);
}

/* The first byte in which values differ that read the same because they are long, or padded. */
static void add_place(struct diff_run *run, const struct qcow2_value *const values[2])
{
	struct qcow2_bytes a = values[0]->raw.size ? values[0]->raw : values[0]->bytes;
	struct qcow2_bytes b = values[1]->raw.size ? values[1]->raw : values[1]->bytes;
	size_t at = 0;

	while (at < a.size && at < b.size && a.data[at] == b.data[at])
		at++;
	spool_print(&run->line, " (they differ from byte %zu on)", at);
}

static int add_element_field(struct diff_run *run, const struct qcow2_diff_field *field)
{
	const struct qcow2_value *value = field->values[field->values[0] ? 0 : 1];
	char *text;

	if (run->fields++ >= FIELDS_MAX)
		return 0;
	text = malloc(TEXT_VALUE_MAX);
	if (!text)
		return 1;
	text_value(text, TEXT_VALUE_MAX, value);
	spool_print(&run->line, "%*s%-*s ", FIELD_START, "", FIELD_WIDTH, field->name);
	spool_text(&run->line, text);
	free(text);
	return end_line(run, FIELD_START + FIELD_WIDTH + 1);
}

static int show_field(void *opaque, const struct qcow2_diff_field *field)
{
	struct diff_run *run = opaque;
	char *texts[2] = {malloc(TEXT_VALUE_MAX), malloc(TEXT_VALUE_MAX)};
	int result = 1;

	if (run->in_element) {
		result = add_element_field(run, field);
	} else if (texts[0] && texts[1]) {
		for (size_t side = 0; side < 2; side++) {
			strcpy(texts[side], "not there");
			if (field->values[side])
				text_value(texts[side], TEXT_VALUE_MAX, field->values[side]);
		}
		spool_text(&run->line, field->path);
		add_both(run, texts[0], texts[1]);
		if (field->values[0] && field->values[1] && strcmp(texts[0], texts[1]) == 0)
			add_place(run, field->values);
		result = end_line(run, HANGING);
	}
	free(texts[0]);
	free(texts[1]);
	return result;
}

static int show_range(void *opaque, const struct qcow2_diff_range *range)
{
	struct diff_run *run = opaque;
	char texts[2][DIFF_ENTRY_MAX];

	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++)
		diff_entry_text(run, range, side, texts[side]);
	spool_text(&run->line, range->path);
	add_both(run, texts[0], texts[1]);
	spool_text(&run->line, range->moved ? " (moved)" : "");
	return end_line(run, HANGING);
}

static int begin_element(void *opaque, const struct qcow2_diff_element *element)
{
	struct diff_run *run = opaque;
	char path[1024];

	snprintf(path, sizeof(path), "%c %s", element->side == QCOW2_DIFF_A ? '-' : '+',
		 element->path);
	add_side(run, element->side, path);
	run->in_element = true;
	run->fields = 0;
	return end_line(run, HANGING);
}

static int end_element(void *opaque, const struct qcow2_diff_element *element)
{
	struct diff_run *run = opaque;

	(void)element;
	run->in_element = false;
	if (run->fields <= FIELDS_MAX)
		return run->line.errnum;
	spool_print(&run->line, "%*s… and %zu more", FIELD_START, "", run->fields - FIELDS_MAX);
	return end_line(run, HANGING);
}

const struct qcow2_diff_visitor diff_text = {
	.size = sizeof(diff_text),
	.field = show_field,
	.range = show_range,
	.begin_element = begin_element,
	.end_element = end_element,
	.gap = diff_keep_gap,
};

void diff_text_end(struct diff_run *run)
{
	uint64_t count = run->result.differences;

	if (count > 0)
		return;
	spool_text(&run->line, run->result.gaps > 0 ? "no structure that was compared differs"
						    : "no structure differs");
	spool_text(&run->line, "; guest data is not compared");
	end_line(run, HANGING);
}
