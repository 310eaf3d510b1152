/* SPDX-License-Identifier: MIT */
/* See piece.h. */
#include "locate/piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out/text_value.h"

void located_field_release(struct located_field *field)
{
	free(field->text);
	free((void *)field->bytes.data);
}

/* Keeps the value as it is, and as people read it. False if memory is short. */
static bool keep_value(struct located_field *field, const struct qcow2_value *value)
{
	const size_t size =
		value->bytes.size < LOCATE_VALUE_MOST ? value->bytes.size : LOCATE_VALUE_MOST;
	uint8_t *bytes = malloc(size + 1);

	field->text = malloc(TEXT_VALUE_MAX);
	field->bytes = (struct qcow2_bytes){bytes, size};
	if (!field->text || !bytes)
		return false;
	if (size > 0)
		memcpy(bytes, value->bytes.data, size);
	text_value(field->text, TEXT_VALUE_MAX, value);
	return true;
}

static int take_field(void *opaque, const char *where, const struct qcow2_value *value)
{
	struct located_field *field = opaque;

	if (!keep_value(field, value))
		return 1;
	field->found = true;
	snprintf(field->where, sizeof(field->where), "%s", where);
	field->offset = value->offset_bytes;
	/* A refcount below a byte has no bytes of its own. */
	field->length = value->raw.size > 0 ? value->raw.size : 1;
	field->kind = value->kind;
	field->number = value->number;
	return 0;
}

int locate_field(struct locate_run *run, const struct qcow2_piece *piece,
		 const struct qcow2_claim *owner, struct located_field *field,
		 struct qcow2_error *err)
{
	const uint64_t start = piece->start.byte;
	const struct qcow2_host byte = {start > owner->offset_bytes ? start : owner->offset_bytes};
	int found;

	*field = (struct located_field){.found = false};
	if (piece->unclaimed || owner->part == QCOW2_CLAIM_DATA ||
	    owner->part == QCOW2_CLAIM_BITMAP_DATA || run->fields_left == 0)
		return 0;
	run->fields_left--;
	found = qcow2_field_find(run->image, owner, byte, take_field, field, err);
	if (found > 0 && !field->found) {
		located_field_release(field);
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	return found < 0 ? -1 : 0;
}

bool locate_guest_byte(const struct qcow2_piece *piece, const struct qcow2_claim *owner,
		       uint64_t *byte)
{
	const uint64_t start = piece->start.byte;
	const uint64_t into = start > owner->offset_bytes ? start - owner->offset_bytes : 0;

	if (owner->part != QCOW2_CLAIM_DATA || owner->use == QCOW2_USE_COMPRESSED ||
	    !owner->has_guest || piece->unclaimed || into >= owner->guest_length_bytes)
		return false;
	*byte = owner->guest_byte + into;
	return true;
}

const char *locate_part(const struct qcow2_claim *owner)
{
	return owner->use == QCOW2_USE_COMPRESSED ? "compressed"
						  : qcow2_claim_part_name(owner->part);
}
