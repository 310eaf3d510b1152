/* SPDX-License-Identifier: MIT */
/*
 * The undo file. Big-endian; a head, two texts, then pieces and possible bytes:
 *
 *   0  "QCOW2UND"            56  number of pieces
 *   8  version, 32 bits      64  number of possible bytes' records
 *  12  state, 32 bits        72  time in seconds since the Epoch
 *  16  length of the file    80  checksum of the image's first bytes, as they were
 *  24  device of the image   88  length of the image's path, 32 bits
 *  32  inode                 92  length of the command, 32 bits
 *  40  old size              96  checksum of bytes 16 to 95 and of both texts
 *  48  new size             104  path, command
 *
 * A piece: offset, size (32 bits), length of old bytes, of new bytes (32 bits each), 32 bits zero,
 * checksum of these and of the bytes; the old bytes, the new ones. Pieces are disjoint and rise.
 *
 * Possible bytes are what a place may hold in between, where a plan writes it more than once:
 * offset, size (32 bits), 32 bits zero, checksum; the bytes.
 *
 * Only the state ever changes. Numbers are 64 bits wide where nothing else is said.
 */
#ifndef QCOW2_EDIT_UNDO_H
#define QCOW2_EDIT_UNDO_H

#include "edit/plan.h"
#include "source/write.h"

#define QCOW2_UNDO_MAGIC          "QCOW2UND"
#define QCOW2_UNDO_VERSION        1
#define QCOW2_UNDO_HEAD_BYTES     104
#define QCOW2_UNDO_PIECE_BYTES    32
#define QCOW2_UNDO_POSSIBLE_BYTES 24
#define QCOW2_UNDO_STATE_AT       12
/* So much of the image's beginning tells it from others. */
#define QCOW2_UNDO_FIRST_BYTES ((size_t)65536)

/* Checksums of what belongs together: not against forgery, against damage. */
uint64_t qcow2_undo_checksum(uint64_t seed, struct qcow2_bytes bytes);

/*
 * Writes the undo file of a plan: the places that it changes, with the bytes as they are and as
 * they will be. All is on the medium, the name included, when it returns 0. Nothing is left behind
 * after an error. *out is open, for qcow2_undo_mark().
 */
int qcow2_undo_save(const struct qcow2_plan *plan, const struct qcow2_place *places, size_t count,
		    const struct qcow2_apply_options *options, struct qcow2_source **out,
		    struct qcow2_error *err);

/* Notes a state in an undo file, and returns when it is on the medium. */
int qcow2_undo_mark(struct qcow2_source *file, enum qcow2_undo_state state,
		    struct qcow2_error *err);

#endif
