/* SPDX-License-Identifier: MIT */
/* qcow2 explain for people: in full, and as a list. */
#include <inttypes.h>
#include <stdio.h>

#include "explain/explain.h"

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
	char number[32];

	if (names->bits)
		snprintf(number, sizeof(number), "bit %" PRIu64, value->value);
	else
		snprintf(number, sizeof(number), value->value < 256 ? "%" PRIu64 : "0x%08" PRIx64,
			 value->value);
	spool_print(out, "  %-11s %-24s %s\n", number, value->name, value->meaning);
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
	spool_print(out, "  meaning        %s\n  legal values   %s\n", field->meaning,
		    field->legal);
	if (field->qemu)
		spool_print(out, "  QEMU's limits  %s\n", field->qemu);
	spool_print(out, "  specification  \"%s\"\n", structure->section);
	for (size_t i = 0; field->names && i < field->names->count; i++)
		show_value(out, field->names, &field->names->list[i]);
}

static void text_structure(void *opaque, const struct qcow2_structure *structure)
{
	struct spool *out = opaque;
	char place[80];

	separate(out);
	spool_print(out, "%s: %s, %u bytes\n%s\nSpecification: \"%s\"\n\n", structure->name,
		    structure->title, structure->size_bytes, structure->meaning,
		    structure->section);
	for (size_t i = 0; i < structure->field_count; i++) {
		const struct qcow2_field *field = &structure->fields[i];

		spool_print(out, "  %-25s %s\n", field->name,
			    explain_place(field, place, sizeof(place)));
		spool_print(out, "  %-25s %s\n", "", field->meaning);
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

static void text_problem(void *opaque, const struct qcow2_problem_kind *problem)
{
	struct spool *out = opaque;

	separate(out);
	spool_print(out, "%s: a problem\n", problem->id);
	spool_print(out, "  meaning        %s\n  consequence    %s\n", problem->text,
		    problem->consequence);
	spool_print(out, "  severity       %s\n  repairable     %s\n",
		    qcow2_severity_name(problem->severity), problem->repairable ? "yes" : "no");
	spool_print(out, "  specification  \"%s\"\n", problem->section);
}

void explain_text_page(struct explain_page *page, struct spool *out)
{
	*page = (struct explain_page){out,        text_structure, text_field,
				      text_names, text_value,     text_problem};
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
	spool_print(opaque, "%-34s %s: %s\n", problem->id, qcow2_severity_name(problem->severity),
		    problem->text);
}

void explain_list_page(struct explain_page *page, struct spool *out)
{
	explain_text_page(page, out);
	page->structure = list_structure;
	page->names = list_names;
	page->problem = list_problem;
}
