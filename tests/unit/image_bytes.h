/* SPDX-License-Identifier: MIT */
/*
 * Images put together byte by byte in memory, for the tests of lib/image. Everything is written
 * with the offsets of the specification, so that nothing of the library is trusted here.
 */
#ifndef TESTS_UNIT_IMAGE_BYTES_H
#define TESTS_UNIT_IMAGE_BYTES_H

#include <stdint.h>
#include <string.h>

#define CLUSTER 512

static inline void put_be(uint8_t *at, unsigned width, uint64_t value)
{
	while (width-- > 0) {
		at[width] = (uint8_t)value;
		value >>= 8;
	}
}

/* A version 3 header of 104 bytes: 512-byte clusters, 16-bit refcounts. */
static inline void put_header(uint8_t *image, uint64_t virtual_size)
{
	memset(image, 0, 104);
	put_be(image, 4, 0x514649fb);
	put_be(image + 4, 4, 3);
	put_be(image + 20, 4, 9);
	put_be(image + 24, 8, virtual_size);
	put_be(image + 96, 4, 4);
	put_be(image + 100, 4, 104);
}

/* The mark of a header extension. */
static inline void put_mark(uint8_t *at, uint32_t magic, uint32_t length)
{
	put_be(at, 4, magic);
	put_be(at + 4, 4, length);
}

/* The bitmaps extension with its mark: 32 bytes. */
static inline void put_bitmaps(uint8_t *at, uint32_t count, uint64_t size, uint64_t offset)
{
	put_mark(at, 0x23852875, 24);
	put_be(at + 8, 4, count);
	put_be(at + 12, 4, 0);
	put_be(at + 16, 8, size);
	put_be(at + 24, 8, offset);
}

/* The fixed 24 bytes of a bitmap directory entry: type 1, granularity 2^9, table at 0x400. */
static inline void put_bitmap(uint8_t *at, uint16_t name_size, uint32_t extra_size)
{
	memset(at, 0, 24);
	put_be(at, 8, 0x400);
	put_be(at + 8, 4, 1);
	at[16] = 1;
	at[17] = 9;
	put_be(at + 18, 2, name_size);
	put_be(at + 20, 4, extra_size);
}

/* The fixed 40 bytes of a snapshot. */
static inline void put_snapshot(uint8_t *at, uint16_t id_size, uint16_t name_size,
				uint32_t extra_size)
{
	memset(at, 0, 40);
	put_be(at + 12, 2, id_size);
	put_be(at + 14, 2, name_size);
	put_be(at + 32, 4, 77);
	put_be(at + 36, 4, extra_size);
}

#endif
