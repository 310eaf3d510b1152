/* SPDX-License-Identifier: MIT */
/*
 * Big-endian loads from bytes of any alignment. They read exactly the bytes they name; the caller
 * has checked that these exist.
 */
#ifndef Q2_BASE_BYTES_H
#define Q2_BASE_BYTES_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Compilers make one load and one byte swap of each of these. */
static inline uint32_t q2_load_be32(const void *bytes)
{
	const uint8_t *b = bytes;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t q2_load_be64(const void *bytes)
{
	const uint8_t *b = bytes;

	return (uint64_t)q2_load_be32(b) << 32 | q2_load_be32(b + 4);
}

/* Loads a big-endian number of 0 to 8 bytes. Without bytes it is 0. */
static inline uint64_t q2_load_be(const uint8_t *bytes, unsigned width_bytes)
{
	uint64_t value = 0;

	assert(width_bytes <= 8);
	for (unsigned i = 0; i < width_bytes; i++)
		value = value << 8 | bytes[i];
	return value;
}

static inline void q2_store_be32(void *bytes, uint32_t value)
{
	uint8_t *b = bytes;

	for (unsigned i = 4; i-- > 0; value >>= 8)
		b[i] = (uint8_t)value;
}

static inline void q2_store_be64(void *bytes, uint64_t value)
{
	uint8_t *b = bytes;

	for (unsigned i = 8; i-- > 0; value >>= 8)
		b[i] = (uint8_t)value;
}

#endif
