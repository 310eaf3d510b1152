/* SPDX-License-Identifier: MIT */
/* A piece of the file for people: its state, and a line or two for each owner. */
#include <inttypes.h>
#include <stdio.h>

#include "locate/piece.h"

#include <qcow2/text.h>

/* People see so many owners of a piece; JSON has all. */
#define OWNERS_SHOWN 64

/* Says a name of the image between quotes. */
static void print_name(struct spool *out, const char *before, struct qcow2_bytes name)
{
	char text[NAME_BYTES_MOST * 6 + 1];

	qcow2_text_escape(name, text, sizeof(text));
	spool_print(out, "%s'%s'", before, text);
}

static void print_guest(struct spool *out, const struct qcow2_piece *piece,
			const struct qcow2_claim *owner)
{
	uint64_t byte;

	if (!owner->has_guest)
		return;
	if (locate_guest_byte(piece, owner, &byte))
		spool_print(out, ", guest 0x%" PRIx64, byte);
	else
		spool_print(out, ", guest 0x%" PRIx64 "..0x%" PRIx64, owner->guest_byte,
			    owner->guest_byte + (owner->guest_length_bytes - 1));
}

static int print_owner(struct locate_run *run, const struct qcow2_piece *piece,
		       const struct qcow2_claim *owner, struct qcow2_error *err)
{
	struct spool *out = &run->line;
	struct located_field field;
	char where[QCOW2_CLAIM_WHERE_MAX];

	if (locate_field(run, piece, owner, &field, err))
		return -1;
	run->owners_left -= run->owners_left > 0;
	spool_text(out, locate_part(owner));
	/* Data that is not compressed is a cluster. */
	if (owner->part != QCOW2_CLAIM_DATA || owner->use == QCOW2_USE_COMPRESSED)
		spool_print(out, " at 0x%" PRIx64 " + %" PRIu64, owner->offset_bytes,
			    owner->length_bytes);
	print_guest(out, piece, owner);
	if (owner->part_of == QCOW2_PART_OF_SNAPSHOT)
		locate_print_snapshot(run, ", ", owner->part_of_index);
	else if (owner->part_of == QCOW2_PART_OF_BITMAP)
		print_name(out, ", bitmap ",
			   names_bitmap(&run->names, run->image, owner->part_of_index));
	locate_row(run, qcow2_claim_where(owner, where, sizeof(where)));
	if (field.found) {
		spool_print(out, "%s at 0x%" PRIx64, field.text, field.offset);
		locate_row(run, field.where);
	}
	located_field_release(&field);
	return 0;
}

static int print_owners(struct locate_run *run, const struct qcow2_piece *piece,
			struct qcow2_error *err)
{
	uint64_t shown = 0, left_out = piece->owners_total - piece->owner_count;

	for (size_t i = 0; i < piece->owner_count; i++) {
		if (!locate_wants(run, piece->owners[i]))
			continue;
		if (shown == OWNERS_SHOWN) {
			left_out++;
			continue;
		}
		shown++;
		if (print_owner(run, piece, piece->owners[i], err))
			return -1;
	}
	if (left_out > 0)
		spool_print(&run->out, "  and %" PRIu64 " more%s\n", left_out,
			    piece->owners_total == piece->owner_count
				    ? " (--output=json shows them)"
				    : "");
	return 0;
}

int locate_piece_text(struct locate_run *run, const struct qcow2_piece *piece,
		      struct qcow2_error *err)
{
	struct spool *out = &run->line;

	spool_text(out, "host ");
	locate_print_offset(out, piece->start.byte);
	if (piece->length_bytes > 1)
		spool_print(out, " + %" PRIu64, piece->length_bytes);
	spool_print(out, ": %s", qcow2_piece_state_name(piece->state));
	if (piece->unclaimed)
		spool_text(out, ", but nothing claims it; its cluster holds");
	locate_heading(run);
	if (print_owners(run, piece, err))
		return -1;
	locate_print_refcount(out, piece->refcount);
	locate_row(run, "refcount");
	return 0;
}
