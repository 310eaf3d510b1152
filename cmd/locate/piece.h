/* SPDX-License-Identifier: MIT */
/* What the pages of one piece of the file share. */
#ifndef CMD_LOCATE_PIECE_H
#define CMD_LOCATE_PIECE_H

#include "locate/run.h"

/* The field of an owner that holds the first byte of a piece. */
struct located_field {
	bool found;
	char where[QCOW2_FIELD_WHERE_MAX];
	uint64_t offset, length;
	bool is_number;
	uint64_t number;
	char *text; /* the value as people read it, allocated */
};

/*
 * Looks up the field, if there may be one and enough have not been looked up. Returns 0, or -1 with
 * *err filled. The caller frees field->text.
 */
int locate_field(struct locate_run *run, const struct qcow2_piece *piece,
		 const struct qcow2_claim *owner, struct located_field *field,
		 struct qcow2_error *err);

/*
 * The byte of the guest that the first byte of the piece is, of data that is not compressed. False
 * if there is none.
 */
bool locate_guest_byte(const struct qcow2_piece *piece, const struct qcow2_claim *owner,
		       uint64_t *byte);

/* "l2-table", "compressed", …: the kind of an owner. */
const char *locate_part(const struct qcow2_claim *owner);

#endif
