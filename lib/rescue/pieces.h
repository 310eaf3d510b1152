/* SPDX-License-Identifier: MIT */
/* Reads pieces of the file through a buffer, which saves calls where pieces lie side by side. */
#ifndef Q2_RESCUE_PIECES_H
#define Q2_RESCUE_PIECES_H

#include "rescue/scan.h"

struct q2_pieces {
	const struct q2_scan *scan;
	uint8_t *buffer;
	size_t size;
	uint64_t start_bytes; /* of what the buffer holds */
	size_t held_bytes;
};

/* Prepares the buffer for pieces of at most largest bytes. 0, or -1 with *err filled. */
int q2_pieces_open(struct q2_pieces *pieces, const struct q2_scan *scan, size_t largest,
		   struct qcow2_error *err);
void q2_pieces_close(struct q2_pieces *pieces);

/*
 * Shows a piece, which ends with zeros where the file ends before; valid until the next call. 0, or
 * -1 with *err filled.
 */
int q2_pieces_read(struct q2_pieces *pieces, uint64_t offset_bytes, size_t size,
		   const uint8_t **bytes, struct qcow2_error *err);

#endif
