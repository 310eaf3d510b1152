/* SPDX-License-Identifier: MIT */
/*
 * A dirty bitmap in a file of its own: its bits, and what is needed to know what they mean. This is
 * what "qcow2 bitmap export" writes; docs/bitmap.md has the layout for other programs.
 *
 *   0  magic, 8 bytes: QCOW2_BITMAP_FILE_MAGIC
 *   8  version: 1
 *  12  granularity_bits: a bit stands for 1 << granularity_bits bytes
 *  16  size of the disk, in bytes
 *  24  number of bits: see qcow2_bitmap_file_bits()
 *  32  flags: bit 0: it was enabled, bit 1: bits may be missing; else 0
 *  36  zeros
 *  60  CRC-32 of bytes 0 to 59
 *  64  the bits, eight a byte, least significant first; then zeros
 *      CRC-32 of the bits
 *
 * Numbers are big-endian, 64 bits wide at 16 and 24 and 32 bits elsewhere. The CRC is that of gzip.
 *
 * A program that writes such a file without holding all bits in memory writes the header, then the
 * bits in pieces, and carries the checksum along:
 *
 *         qcow2_bitmap_file_header(&file, header);
 *         …
 *         sum = qcow2_bitmap_file_checksum(sum, piece);
 *
 * Everything here is pure and thread safe.
 */
#ifndef QCOW2_BITMAP_FILE_H
#define QCOW2_BITMAP_FILE_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* ---- a dirty bitmap in a file of its own ---- */

/* As PNG's: what turns line ends or cuts a bit off a byte is noticed at once. */
#define QCOW2_BITMAP_FILE_MAGIC         "\x89QBM\r\n\x1a\n"
#define QCOW2_BITMAP_FILE_HEADER_BYTES  64
#define QCOW2_BITMAP_FILE_TRAILER_BYTES 4

/* What such a file says of itself. The caller owns it. This structure never changes. */
struct qcow2_bitmap_file {
	uint64_t disk_size_bytes;
	uint64_t bit_count;        /* follows from the other two */
	unsigned granularity_bits; /* a bit stands for 1 << granularity_bits bytes, below 64 */
	bool enabled;              /* programs recorded writes in it */
	/* It was not saved properly, or not all of it could be read: nobody may take it for whole. */
	bool stale;
};

/*
 * Tells how many bits a bitmap of a disk has. Only whole sectors of 512 bytes are tracked, as in
 * QEMU; a part of a granule at the end has a bit.
 *
 * disk_size_bytes: the virtual size, any.
 * granularity_bits: below 64.
 *
 * Returns the number of bits; in the file they take that many divided by 8, rounded up.
 */
QCOW2_API uint64_t qcow2_bitmap_file_bits(uint64_t disk_size_bytes, unsigned granularity_bits);

/*
 * Writes the header of a file.
 *
 * file: what it says of itself; bit_count is not looked at, as it follows from the other members.
 * header: room for QCOW2_BITMAP_FILE_HEADER_BYTES bytes, all of which are written.
 */
QCOW2_API void qcow2_bitmap_file_header(const struct qcow2_bitmap_file *file,
					uint8_t header[QCOW2_BITMAP_FILE_HEADER_BYTES]);

/*
 * Computes the checksum of bits that come in pieces. Behind the last bits it is stored as a
 * big-endian number of 32 bits.
 *
 * before: the checksum of the bits in front of these; 0 at the beginning.
 * bits: the piece, any number of bytes.
 *
 * Returns the checksum up to the end of the piece.
 */
QCOW2_API uint32_t qcow2_bitmap_file_checksum(uint32_t before, struct qcow2_bytes bits);

/*
 * Tells whether bytes begin as such a file does, to tell it from raw bits.
 *
 * bytes: the first bytes of a file, or all of them.
 *
 * Returns whether the magic number is there. The rest of the file may still be damaged.
 */
QCOW2_API bool qcow2_bitmap_file_begins(struct qcow2_bytes bytes);

/*
 * Reads a whole file, which may come from anywhere: everything that it says of itself is proved, its
 * length and its checksums included.
 *
 * bytes: the file, as long as it is.
 * *out: set to what it says of itself.
 * *bits: set to the bits, a view into bytes.
 *
 * Returns 0, or -1 with *err filled; its text speaks of "the export":
 *   QCOW2_ERROR_ARGUMENT     no such file
 *   QCOW2_ERROR_UNSUPPORTED  of a later version, or with unknown flags
 *   QCOW2_ERROR_BROKEN       cut, too long, or changed since it was written
 */
QCOW2_API int qcow2_bitmap_file_parse(struct qcow2_bytes bytes, struct qcow2_bitmap_file *out,
				      struct qcow2_bytes *bits, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
