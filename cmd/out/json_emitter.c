/* SPDX-License-Identifier: MIT */
/* Shows a walk as one JSON document. Keys come from the walk; problems are its last member. */
#include "out/emitter.h"
#include "out/problem_json.h"
#include "out/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

/* The key of a member that belongs to another one: "flags" and "-names" give "flags-names". */
static void companion(struct json *json, const char *name, const char *suffix)
{
	char key[80];

	snprintf(key, sizeof(key), "%s%s", name, suffix);
	json_key(json, key);
}

/* A number; with its digits as a text beside it if it is large, or a whole entry of a table. */
static void write_number(struct json *json, const char *name, uint64_t number)
{
	char key[80];

	json_number(json, number);
	if (name[0] == 'e' && strcmp(name, "entry") == 0) {
		json_hex_member(json, "entry-hex", number);
	} else if (number > JSON_EXACT_MOST) {
		snprintf(key, sizeof(key), "%s-hex", name);
		json_hex_member(json, key, number);
	}
}

static void begin_value(struct json_emitter *e, const struct qcow2_node *node)
{
	if (node->key)
		json_key(&e->json, node->key);
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct json_emitter *e = opaque;
	const struct spool *out = e->json.out;

	progress_step(e->options.progress, out->written + out->size);
	begin_value(e, node);
	json_begin_object(&e->json);
	e->in_row = node->layout == QCOW2_LAYOUT_ROW;
	if (e->depth++ == 0) {
		json_text_member(&e->json, "filename",
				 (struct qcow2_bytes){(const uint8_t *)e->options.file_name,
						      strlen(e->options.file_name)});
	}
	if (node->index != QCOW2_NO_INDEX) {
		json_key(&e->json, "index");
		json_number(&e->json, node->index);
	}
	if (node->offset_key && node->offset_bytes != QCOW2_NO_OFFSET) {
		json_key(&e->json, node->offset_key);
		write_number(&e->json, node->offset_key, node->offset_bytes);
	}
	return e->json.out->errnum;
}

static void write_problems(struct json *json, const struct problem_log *log)
{
	const struct qcow2_problem_kind *kind = NULL;
	bool omitted = false;

	json_key(json, "problems");
	json_begin_array(json);
	for (size_t i = 0; i < log->count; i++) {
		json_begin_object(json);
		problem_json_members(json, log->kept[i]);
		problem_json_place(json, log->kept[i]);
		json_end_object(json);
	}
	json_end_array(json);
	while ((kind = qcow2_problem_kind_next(kind))) {
		if (problem_log_omitted(log, kind) == 0)
			continue;
		if (!omitted) {
			json_key(json, "problems-omitted");
			json_begin_object(json);
		}
		omitted = true;
		json_key(json, kind->id);
		json_number(json, problem_log_omitted(log, kind));
	}
	if (omitted)
		json_end_object(json);
}

static int end_struct(void *opaque, const struct qcow2_node *node)
{
	struct json_emitter *e = opaque;

	(void)node;
	if (--e->depth == 0)
		write_problems(&e->json, e->problems);
	json_end_object(&e->json);
	e->in_row = false;
	return e->json.out->errnum;
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	struct json_emitter *e = opaque;

	begin_value(e, node);
	json_begin_array(&e->json);
	return e->json.out->errnum;
}

static int end_list(void *opaque, const struct qcow2_node *node)
{
	struct json_emitter *e = opaque;

	(void)node;
	json_end_array(&e->json);
	return e->json.out->errnum;
}

static void write_bit_names(struct json *json, const struct qcow2_value *value)
{
	json_begin_array(json);
	for (uint64_t rest = value->number; rest != 0; rest &= rest - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(rest);
		const char *name = qcow2_names_find(value->names, bit);
		char other[16];

		snprintf(other, sizeof(other), "bit-%u", bit);
		json_text(json, name ? name : other);
	}
	json_end_array(json);
}

static void write_names(struct json_emitter *e, const struct qcow2_value *value)
{
	const char *name;

	if (!value->names || e->in_row)
		return;
	if (value->names->bits) {
		companion(&e->json, value->name, "-names");
		write_bit_names(&e->json, value);
		return;
	}
	name = qcow2_names_find(value->names, value->number);
	companion(&e->json, value->name, "-name");
	json_text(&e->json, name ? name : "unknown");
}

static void write_value(struct json_emitter *e, const struct qcow2_value *value)
{
	if (value->kind == QCOW2_VALUE_TEXT) {
		json_text_member(&e->json, value->name, value->bytes);
		return;
	}
	json_key(&e->json, value->name);
	switch (value->kind) {
	case QCOW2_VALUE_NUMBER:
		write_number(&e->json, value->name, value->number);
		write_names(e, value);
		break;
	case QCOW2_VALUE_BOOL:
		json_bool(&e->json, value->number != 0);
		break;
	case QCOW2_VALUE_NULL:
		json_null(&e->json);
		break;
	case QCOW2_VALUE_TEXT: /* done above */
		break;
	case QCOW2_VALUE_BYTES:
		json_hex(&e->json, value->bytes);
		break;
	}
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct json_emitter *e = opaque;

	if (value->audience == QCOW2_FOR_PEOPLE)
		return 0;
	write_value(e, value);
	if (e->options.offsets && value->offset_bytes != QCOW2_NO_OFFSET) {
		companion(&e->json, value->name, ".offset");
		json_number(&e->json, value->offset_bytes);
	}
	if (e->options.hex && value->raw.size > 0) {
		companion(&e->json, value->name, ".hex");
		json_hex(&e->json, value->raw);
	}
	return e->json.out->errnum;
}

static int problem(void *opaque, const struct qcow2_problem *problem)
{
	struct json_emitter *e = opaque;

	problem_log_add(e->problems, problem);
	return 0;
}

static int add_rows(void *opaque, const struct qcow2_rows *rows)
{
	struct json_emitter *e = opaque;
	const struct spool *out = e->json.out;

	progress_steps(e->options.progress, rows->count, out->written + out->size);
	rows_add_json(e, rows);
	return out->errnum;
}

#define VISITOR                                                                                    \
	.size = sizeof(struct qcow2_visitor), .begin_struct = begin_struct,                        \
	.end_struct = end_struct, .begin_list = begin_list, .end_list = end_list, .field = field,  \
	.problem = problem

const struct qcow2_visitor json_visitor = {VISITOR};
const struct qcow2_visitor json_rows_visitor = {VISITOR, .rows = add_rows};
