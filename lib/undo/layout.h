/* SPDX-License-Identifier: MIT */
/*
 * The undo file. Big-endian; a head, two texts, then three kinds of records:
 *
 *   0  "QCOW2UND"                         88  modification time of the image before: seconds
 *   8  version, 32 bits                   96  and nanoseconds, 32 bits
 *  12  flags, 32 bits                    100  length of the image's path, 32 bits
 *  16  length of the file                104  length of the command, 32 bits
 *  24  device of the image               108  32 bits zero
 *  32  inode, or number of a device      112  digest of the metadata before, 128 bits
 *  40  old size                          128  digest of the metadata after, 128 bits
 *  48  new size                          144  checksum of the image's first bytes before
 *  56  number of pieces                  152  old bytes in all pieces
 *  64  number of possible bytes' records 160  bytes of freed clusters
 *  72  number of freed records           168  id of the image's file system
 *  80  time in seconds since the Epoch   176  checksum of bytes 8 to 175 and of both texts
 *                                        512  a state; 1024 another one
 *                                       1536  path, command
 *
 * A state: number that rises, state (32 bits), flags (32 bits), modification time of the image when
 * the state began (seconds; nanoseconds in 32 bits), 32 bits zero, checksum of all this. Of the two
 * the one that is whole and has the higher number counts: a state that was being written when the
 * power failed leaves the one before.
 *
 * A piece: offset, size (32 bits), length of old bytes, of new bytes (32 bits each), phase of the
 * plan (32 bits), checksum of these and of the bytes; the old bytes, the new ones. Pieces are
 * disjoint and rise.
 *
 * Possible bytes are what a place may hold in between, if a plan writes it more than once, in the
 * order of the plan: offset, size (32 bits), phase of the write plus one (32 bits), checksum; the
 * bytes.
 *
 * A freed record is a piece without new bytes: clusters that the change freed, as they were; and
 * the flags of bitmaps whose entries it leaves where they are. They rise, too, and share nothing
 * with pieces. Bytes that are not stored are zeros.
 *
 * Only the states ever change. Numbers are 64 bits wide where nothing else is said.
 */
#ifndef Q2_UNDO_LAYOUT_H
#define Q2_UNDO_LAYOUT_H

#include <qcow2/undo.h>

#include "base/digest.h"

#define Q2_UNDO_MAGIC          "QCOW2UND"
#define Q2_UNDO_VERSION        4
#define Q2_UNDO_HEAD_BYTES     184
#define Q2_UNDO_STATE_BYTES    40
#define Q2_UNDO_STATE_AT       512 /* of the first state; the second follows 512 bytes later */
#define Q2_UNDO_TEXTS_AT       1536
#define Q2_UNDO_PIECE_BYTES    32
#define Q2_UNDO_POSSIBLE_BYTES 24
/* Bytes at the start of an image that identify it if there are no digests. */
#define Q2_UNDO_FIRST_BYTES ((size_t)65536)

/* Flags of the head. */
#define Q2_UNDO_HAS_BEFORE    UINT32_C(1) /* the digest of before is known */
#define Q2_UNDO_HAS_AFTER     UINT32_C(2)
#define Q2_UNDO_HAS_DATA_FILE UINT32_C(4)
#define Q2_UNDO_OF_DEVICE     UINT32_C(8)
/* Flags of a state: the undo put back every byte as it was; it had no doubt that it was right. */
#define Q2_UNDO_WAS_EXACT  UINT32_C(1)
#define Q2_UNDO_WAS_PROVED UINT32_C(2)

/* Seeds of checksums, so that a record of one kind is not taken for one of another. */
enum {
	Q2_UNDO_SEED_PIECE,
	Q2_UNDO_SEED_POSSIBLE,
	Q2_UNDO_SEED_FIRST,
	Q2_UNDO_SEED_HEAD,
	Q2_UNDO_SEED_FREED,
	Q2_UNDO_SEED_STATE
};

/*
 * The checksum of bytes that belong together, after that of the bytes before them or a seed. It
 * finds damage; it is no defence against forgery.
 */
static inline uint64_t q2_undo_checksum(uint64_t seed, struct qcow2_bytes bytes)
{
	return q2_checksum(seed, bytes);
}

#endif
