/* SPDX-License-Identifier: MIT */
/* A piece of the file as members of a JSON object. */
#include "locate/piece.h"

/* The value as qcow2 dump -j has it. */
static void json_value(struct json *json, const struct located_field *field)
{
	if (field->kind == QCOW2_VALUE_TEXT) {
		json_text_member(json, "value", field->bytes);
		return;
	}
	json_key(json, "value");
	if (field->kind == QCOW2_VALUE_NUMBER)
		json_number(json, field->number);
	else
		json_hex(json, field->bytes);
}

static void json_field(struct json *json, const struct located_field *field)
{
	json_key(json, "field");
	json_begin_object(json);
	json_key(json, "where");
	json_text(json, field->where);
	json_number_member(json, "offset", field->offset);
	json_number_member(json, "length", field->length);
	json_value(json, field);
	json_key(json, "text");
	json_text(json, field->text);
	json_end_object(json);
}

static void json_guest(struct json *json, const struct qcow2_piece *piece,
		       const struct qcow2_claim *owner)
{
	uint64_t byte;

	if (!owner->has_guest)
		return;
	json_key(json, "guest");
	json_begin_object(json);
	json_number_member(json, "start", owner->guest_byte);
	json_number_member(json, "length", owner->guest_length_bytes);
	json_end_object(json);
	if (locate_guest_byte(piece, owner, &byte))
		json_number_member(json, "guest-offset", byte);
}

/* Whose structure it is. */
static void json_part_of(struct locate_run *run, const struct qcow2_claim *owner)
{
	struct json *json = &run->json;

	if (owner->part_of == QCOW2_PART_OF_SNAPSHOT) {
		locate_json_snapshot(run, owner->part_of_index);
		return;
	}
	json_key(json, "snapshot");
	json_null(json);
	if (owner->part_of == QCOW2_PART_OF_BITMAP)
		json_text_member(json, "bitmap",
				 names_bitmap(&run->names, run->image, owner->part_of_index));
}

static int json_owner(struct locate_run *run, const struct qcow2_piece *piece,
		      const struct qcow2_claim *owner, struct qcow2_error *err)
{
	struct json *json = &run->json;
	struct located_field field;
	char where[QCOW2_CLAIM_WHERE_MAX];

	if (locate_field(run, piece, owner, &field, err))
		return -1;
	run->owners_left -= run->owners_left > 0;
	json_begin_object(json);
	json_key(json, "where");
	json_text(json, qcow2_claim_where(owner, where, sizeof(where)));
	json_key(json, "part");
	json_text(json, locate_part(owner));
	json_number_member(json, "offset", owner->offset_bytes);
	json_number_member(json, "length", owner->length_bytes);
	json_guest(json, piece, owner);
	json_part_of(run, owner);
	if (field.found)
		json_field(json, &field);
	json_end_object(json);
	located_field_release(&field);
	return 0;
}

int locate_piece_json(struct locate_run *run, const struct qcow2_piece *piece,
		      struct qcow2_error *err)
{
	struct json *json = &run->json;

	json_number_member(json, "host", piece->start.byte);
	json_number_member(json, "length", piece->length_bytes);
	json_key(json, "state");
	json_text(json, qcow2_piece_state_name(piece->state));
	if (piece->unclaimed) {
		json_key(json, "unclaimed");
		json_bool(json, true);
	}
	json_key(json, "owners");
	json_begin_array(json);
	for (size_t i = 0; i < piece->owner_count; i++)
		if (locate_wants(run, piece->owners[i]) &&
		    json_owner(run, piece, piece->owners[i], err))
			return -1;
	json_end_array(json);
	if (piece->owners_total > piece->owner_count)
		json_number_member(json, "owners-omitted",
				   piece->owners_total - piece->owner_count);
	locate_json_refcount(json, piece->refcount);
	return 0;
}
