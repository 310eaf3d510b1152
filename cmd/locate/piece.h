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
	enum qcow2_value_kind kind;
	uint64_t number;
	struct qcow2_bytes bytes; /* of a value that is no number, allocated, cut */
	char *text;               /* the value as people read it, allocated */
};

/* The most bytes of a value that are kept: names of bitmaps have no more. */
#define LOCATE_VALUE_MOST ((size_t)1 << 16)

/*
 * Looks up the field, if there may be one and enough have not been looked up. Returns 0, or -1 with
 * *err filled. The caller releases the field.
 */
int locate_field(struct locate_run *run, const struct qcow2_piece *piece,
		 const struct qcow2_claim *owner, struct located_field *field,
		 struct qcow2_error *err);

void located_field_release(struct located_field *field);

/*
 * The byte of the guest that the first byte of the piece is, of data that is not compressed. False
 * if there is none.
 */
bool locate_guest_byte(const struct qcow2_piece *piece, const struct qcow2_claim *owner,
		       uint64_t *byte);

/* "l2-table", "compressed", …: the kind of an owner. */
const char *locate_part(const struct qcow2_claim *owner);

#endif
