/* SPDX-License-Identifier: MIT */
/* qcow2 explain for programs. */
#include "explain/explain.h"

static void member(struct json *json, const char *key, const char *text)
{
	json_key(json, key);
	if (text)
		json_text(json, text);
	else
		json_null(json);
}

static void write_value(struct json *json, const struct qcow2_name *value)
{
	json_begin_object(json);
	json_key(json, "value");
	json_number(json, value->value);
	member(json, "name", value->name);
	member(json, "meaning", value->meaning);
	json_end_object(json);
}

static void write_values(struct json *json, const struct qcow2_names *names)
{
	json_key(json, names->bits ? "bits" : "values");
	json_begin_array(json);
	for (size_t i = 0; i < names->count; i++)
		write_value(json, &names->list[i]);
	json_end_array(json);
}

static void write_bits(struct json *json, const char *key, uint8_t bits)
{
	json_key(json, key);
	if (bits == QCOW2_BIT_X)
		json_null(json);
	else
		json_number(json, bits);
}

/* The members of a field, inside an object. Bits that depend on the cluster size are null. */
static void write_field(struct json *json, const struct qcow2_field *field)
{
	char place[80];

	member(json, "name", field->name);
	member(json, "alias", field->alias);
	json_key(json, "offset");
	json_number(json, field->offset_bytes);
	json_key(json, "width");
	json_number(json, field->width_bytes);
	if (field->bit_count > 0) {
		write_bits(json, "first-bit", field->first_bit);
		write_bits(json, "bit-count", field->bit_count);
	}
	member(json, "place", explain_place(field, place, sizeof(place)));
	member(json, "meaning", field->meaning);
	member(json, "legal", field->legal);
	member(json, "qemu", field->qemu);
	if (field->names)
		write_values(json, field->names);
}

static void show_field(void *opaque, const struct qcow2_structure *structure,
		       const struct qcow2_field *field)
{
	struct json *json = opaque;

	json_begin_object(json);
	member(json, "kind", "field");
	member(json, "structure", structure->name);
	member(json, "section", structure->section);
	write_field(json, field);
	json_end_object(json);
}

static void show_structure(void *opaque, const struct qcow2_structure *structure)
{
	struct json *json = opaque;

	json_begin_object(json);
	member(json, "kind", "structure");
	member(json, "name", structure->name);
	member(json, "title", structure->title);
	member(json, "section", structure->section);
	member(json, "meaning", structure->meaning);
	json_key(json, "size");
	json_number(json, structure->size_bytes);
	json_key(json, "fields");
	json_begin_array(json);
	for (size_t i = 0; i < structure->field_count; i++) {
		json_begin_object(json);
		write_field(json, &structure->fields[i]);
		json_end_object(json);
	}
	json_end_array(json);
	json_end_object(json);
}

static void show_names(void *opaque, const struct qcow2_names *names)
{
	struct json *json = opaque;

	json_begin_object(json);
	member(json, "kind", "names");
	member(json, "name", names->id);
	write_values(json, names);
	json_end_object(json);
}

static void show_value(void *opaque, const struct qcow2_names *names,
		       const struct qcow2_name *value)
{
	struct json *json = opaque;

	json_begin_object(json);
	member(json, "kind", names->bits ? "bit" : "value");
	member(json, "of", names->id);
	json_key(json, "value");
	json_number(json, value->value);
	member(json, "name", value->name);
	member(json, "meaning", value->meaning);
	json_end_object(json);
}

static void write_remedy(struct json *json, const struct qcow2_remedy *remedy)
{
	char command[256];
	size_t length = qcow2_remedy_command(remedy, NULL, NULL, 0, command, sizeof(command));

	json_key(json, "remedy");
	json_begin_object(json);
	member(json, "effect", qcow2_remedy_effect_name(remedy->effect));
	member(json, "command", length > 0 ? command : NULL);
	member(json, "does", remedy->does);
	member(json, "cost", remedy->cost[0] ? remedy->cost : NULL);
	member(json, "qemu-img", remedy->qemu);
	json_end_object(json);
}

static void show_problem(void *opaque, const struct qcow2_problem_kind *problem)
{
	struct json *json = opaque;

	json_begin_object(json);
	member(json, "kind", "problem");
	member(json, "name", problem->id);
	member(json, "meaning", problem->text);
	member(json, "consequence", problem->consequence);
	member(json, "severity", qcow2_severity_name(problem->severity));
	json_key(json, "repairable");
	json_bool(json, problem->repairable);
	member(json, "damage", qcow2_damage_name(problem->damage));
	write_remedy(json, problem->remedy);
	member(json, "section", problem->section);
	json_end_object(json);
}

static void write_ids(struct json *json, const struct explain_message *message)
{
	const struct qcow2_problem_kind *kind = NULL;

	json_key(json, "problems");
	json_begin_array(json);
	while ((kind = qcow2_problem_kind_next(kind)))
		if (explain_is_of(message, kind))
			json_text(json, kind->id);
	json_end_array(json);
}

static void show_message(void *opaque, const struct explain_message *message)
{
	struct json *json = opaque;

	json_begin_object(json);
	member(json, "kind", "message");
	member(json, "name", message->words);
	member(json, "meaning", message->meaning);
	member(json, "advice", message->advice[0] ? message->advice : NULL);
	write_ids(json, message);
	json_end_object(json);
}

void explain_json_page(struct explain_page *page, struct json *json)
{
	*page = (struct explain_page){.opaque = json,
				      .structure = show_structure,
				      .field = show_field,
				      .names = show_names,
				      .value = show_value,
				      .problem = show_problem,
				      .message = show_message};
}
