/* SPDX-License-Identifier: MIT */
/* qcow2 explain for people: in full, and as a list. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "explain/explain.h"
#include "out/wrap.h"

/* Columns of a label. */
#define LABELLED 17
/* Where the meaning of a value, of a field of a structure, and of a problem in the list begins. */
#define VALUE_COLUMN   39
#define FIELD_COLUMN   28
#define PROBLEM_COLUMN 35

/* The width that facts have to fit, which a program reads as a line each. */
static unsigned columns(void)
{
	return isatty(STDOUT_FILENO) ? terminal_columns() : COLUMNS_MOST;
}

/* A line "  label          text", wrapped behind the label. */
static void labelled_within(struct spool *out, const char *label, const char *text, unsigned width)
{
	spool_print(out, "  %-15s", label);
	wrap_rest(out, text, LABELLED, LABELLED, width);
}

static void labelled(struct spool *out, const char *label, const char *text)
{
	labelled_within(out, label, text, terminal_columns());
}

static void fact(struct spool *out, const char *label, const char *text)
{
	labelled_within(out, label, text, columns());
}

const char *explain_place(const struct qcow2_field *field, char *buffer, size_t size)
{
	unsigned first = field->first_bit, count = field->bit_count;

	if (count == 0)
		snprintf(buffer, size, "%u byte%s at offset %u", field->width_bytes,
			 field->width_bytes == 1 ? "" : "s", field->offset_bytes);
	else if (first == QCOW2_BIT_X)
		snprintf(buffer, size, "bits x to 61, x = 62 - (cluster_bits - 8)");
	else if (count == QCOW2_BIT_X)
		snprintf(buffer, size, "bits 0 to x - 1, x = 62 - (cluster_bits - 8)");
	else if (count == 1)
		snprintf(buffer, size, "bit %u", first);
	else
		snprintf(buffer, size, "bits %u to %u", first, first + count - 1);
	return buffer;
}

static void show_value(struct spool *out, const struct qcow2_names *names,
		       const struct qcow2_name *value)
{
	char number[32], left[128];
	int used;

	if (names->bits)
		snprintf(number, sizeof(number), "bit %" PRIu64, value->value);
	else
		snprintf(number, sizeof(number), value->value < 256 ? "%" PRIu64 : "0x%08" PRIx64,
			 value->value);
	used = snprintf(left, sizeof(left), "  %-11s %-24s ", number, value->name);
	spool_text(out, left);
	wrap_rest(out, value->meaning, (unsigned)used, VALUE_COLUMN, columns());
}

/* An empty line between entries. */
static void separate(struct spool *out)
{
	if (out->written + out->size > 0)
		spool_text(out, "\n");
}

static void text_names(void *opaque, const struct qcow2_names *names)
{
	struct spool *out = opaque;

	separate(out);
	spool_print(out, "%s of %s:\n", names->bits ? "Bits" : "Values", names->id);
	for (size_t i = 0; i < names->count; i++)
		show_value(out, names, &names->list[i]);
}

static void text_field(void *opaque, const struct qcow2_structure *structure,
		       const struct qcow2_field *field)
{
	struct spool *out = opaque;
	char place[80];

	separate(out);
	spool_print(out, "%s/%s: %s\n", structure->name, field->name,
		    explain_place(field, place, sizeof(place)));
	if (field->alias)
		spool_print(out, "  also called    %s\n", field->alias);
	fact(out, "meaning", field->meaning);
	fact(out, "legal values", field->legal);
	if (field->qemu)
		fact(out, "QEMU's limits", field->qemu);
	spool_print(out, "  specification  \"%s\"\n", structure->section);
	for (size_t i = 0; field->names && i < field->names->count; i++)
		show_value(out, field->names, &field->names->list[i]);
}

static void text_structure(void *opaque, const struct qcow2_structure *structure)
{
	struct spool *out = opaque;
	char place[80];

	separate(out);
	spool_print(out, "%s: %s, %u bytes\n", structure->name, structure->title,
		    structure->size_bytes);
	wrap_text(out, structure->meaning, 0, 0, columns());
	spool_print(out, "Specification: \"%s\"\n\n", structure->section);
	for (size_t i = 0; i < structure->field_count; i++) {
		const struct qcow2_field *field = &structure->fields[i];

		spool_print(out, "  %-25s %s\n", field->name,
			    explain_place(field, place, sizeof(place)));
		wrap_text(out, field->meaning, FIELD_COLUMN, FIELD_COLUMN, columns());
	}
}

static void text_value(void *opaque, const struct qcow2_names *names,
		       const struct qcow2_name *value)
{
	struct spool *out = opaque;

	separate(out);
	spool_print(out, "%s of %s:\n", names->bits ? "Bit" : "Value", names->id);
	show_value(out, names, value);
}

static void show_remedy(struct spool *out, const struct qcow2_remedy *remedy)
{
	char command[256];

	if (qcow2_remedy_command(remedy, NULL, NULL, 0, command, sizeof(command)) > 0)
		spool_print(out, "  %-15s%s\n", "mended by", command);
	labelled(out, remedy->command[0] ? "which does" : "what to do", remedy->does);
	if (remedy->cost[0])
		labelled(out, "at the cost of", remedy->cost);
	snprintf(command, sizeof(command), "qemu-img check -r all %s", remedy->qemu);
	labelled(out, "QEMU", command);
}

static void text_problem(void *opaque, const struct qcow2_problem_kind *problem)
{
	struct spool *out = opaque;
	bool at_risk = problem->damage == QCOW2_DAMAGE_AT_RISK;

	separate(out);
	spool_print(out, "%s: a problem\n", problem->id);
	labelled(out, "meaning", problem->text);
	labelled(out, "consequence", problem->consequence);
	labelled(out, "severity", qcow2_severity_name(problem->severity));
	labelled(out, "guest's data",
		 problem->damage == QCOW2_DAMAGE_NONE ? "not touched"
		 : at_risk                            ? "at risk"
						      : qcow2_damage_name(problem->damage));
	labelled(out, "repairable", problem->repairable ? "yes" : "no");
	show_remedy(out, problem->remedy);
	spool_print(out, "  specification  \"%s\"\n", problem->section);
}

static void brief_begin(void *opaque, size_t count)
{
	separate(opaque);
	spool_print(opaque, "One or more of %zu problems, which 'qcow2 check IMAGE' tells apart:\n",
		    count);
}

/* In a line, after a message of QEMU that may be many problems. */
static void brief_problem(void *opaque, const struct qcow2_problem_kind *problem)
{
	struct spool *out = opaque;

	spool_print(out, "  %-30s ", problem->id);
	wrap_rest(out, problem->text, 33, 33, terminal_columns());
}

static void text_message(void *opaque, const struct explain_message *message)
{
	struct spool *out = opaque;

	separate(out);
	spool_print(out, "\"%s\": a message of QEMU\n", message->words);
	labelled(out, "meaning", message->meaning);
	if (message->advice[0])
		labelled(out, "what to do", message->advice);
}

void explain_text_page(struct explain_page *page, struct spool *out)
{
	*page = (struct explain_page){.opaque = out,
				      .structure = text_structure,
				      .field = text_field,
				      .names = text_names,
				      .value = text_value,
				      .problem = text_problem,
				      .brief_begin = brief_begin,
				      .brief = brief_problem,
				      .message = text_message};
}

static void list_structure(void *opaque, const struct qcow2_structure *structure)
{
	struct spool *out = opaque;

	spool_print(out, "%-24s %s\n", structure->name, structure->title);
	for (size_t i = 0; i < structure->field_count; i++)
		spool_print(out, "  %s\n", structure->fields[i].name);
}

static void list_names(void *opaque, const struct qcow2_names *names)
{
	struct spool *out = opaque;

	spool_print(out, "%-24s %s\n", names->id, names->bits ? "Bits" : "Values");
	for (size_t i = 0; i < names->count; i++)
		spool_print(out, "  %s\n", names->list[i].name);
}

static void list_problem(void *opaque, const struct qcow2_problem_kind *problem)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: %s", qcow2_severity_name(problem->severity),
		 problem->text);
	spool_print(opaque, "%-34s ", problem->id);
	wrap_rest(opaque, text, PROBLEM_COLUMN, PROBLEM_COLUMN, columns());
}

static void list_message(void *opaque, const struct explain_message *message)
{
	spool_print(opaque, "\"%s\"\n", message->words);
}

void explain_list_page(struct explain_page *page, struct spool *out)
{
	explain_text_page(page, out);
	page->structure = list_structure;
	page->names = list_names;
	page->problem = list_problem;
	page->message = list_message;
}
