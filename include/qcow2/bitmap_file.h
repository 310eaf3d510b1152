/* SPDX-License-Identifier: MIT */
/*
 * A dirty bitmap in a file of its own: its bits, and what is needed to know what they mean. This is
 * what "qcow2 bitmap export" writes; docs/bitmap.md has the layout for other programs.
 *
 *   0  magic, 8 bytes: QCOW2_BITMAP_FILE_MAGIC
 *   8  version: 1
 *  12  granularity_bits: a bit stands for 1 << granularity_bits bytes of the disk
 *  16  size of the disk, in bytes
 *  24  number of bits: see qcow2_bitmap_file_bits()
 *  32  flags: bit 0: it was enabled, bit 1: bits may be missing; the others are zero
 *  36  zeros
 *  60  CRC-32 of bytes 0 to 59
 *  64  the bits, eight a byte, least significant first; bits past the end are zero
 *      CRC-32 of the bits
 *
 * Numbers are big-endian, 64 bits wide at 16 and 24 and 32 bits elsewhere. The CRC is that of gzip.
 *
 * Everything here is pure and may be called from any thread.
 */
#ifndef QCOW2_BITMAP_FILE_H
#define QCOW2_BITMAP_FILE_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* As PNG's: what turns line ends or cuts a bit off a byte is noticed at once. */
#define QCOW2_BITMAP_FILE_MAGIC         "\x89QBM\r\n\x1a\n"
#define QCOW2_BITMAP_FILE_HEADER_BYTES  64
#define QCOW2_BITMAP_FILE_TRAILER_BYTES 4

struct qcow2_bitmap_file {
	uint64_t disk_size_bytes;
	uint64_t bit_count;
	unsigned granularity_bits;
	bool enabled; /* programs recorded writes in it */
	/* It was not saved properly, or not all of it could be read: nobody may take it for whole.
	 */
	bool stale;
};

/*
 * How many bits a bitmap of a disk has: only whole sectors of 512 bytes are tracked, as in QEMU.
 * granularity_bits is below 64.
 */
QCOW2_API uint64_t qcow2_bitmap_file_bits(uint64_t disk_size_bytes, unsigned granularity_bits);

/* Writes the header. file->bit_count is not looked at: it follows from the rest. */
QCOW2_API void qcow2_bitmap_file_header(const struct qcow2_bitmap_file *file,
					uint8_t header[QCOW2_BITMAP_FILE_HEADER_BYTES]);

/*
 * The checksum of bits that come in pieces: before is what it was for those in front of them, 0 at
 * the beginning. Behind the last bits, it is stored as a big-endian number of 32 bits.
 */
QCOW2_API uint32_t qcow2_bitmap_file_checksum(uint32_t before, struct qcow2_bytes bits);

/* Whether bytes begin as such a file does. */
QCOW2_API bool qcow2_bitmap_file_begins(struct qcow2_bytes bytes);

/*
 * Reads a whole file, which may come from anywhere: everything that it says of itself is proved.
 *
 * *bits: set to the bits, a view into bytes.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (no such file), QCOW2_ERROR_UNSUPPORTED
 * (a later version, or unknown flags), QCOW2_ERROR_BROKEN (cut, too long, or changed since it was
 * written). The errors speak of "the export".
 */
QCOW2_API int qcow2_bitmap_file_parse(struct qcow2_bytes bytes, struct qcow2_bitmap_file *out,
				      struct qcow2_bytes *bits, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
