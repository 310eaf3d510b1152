/* SPDX-License-Identifier: MIT */
/*
 * One load and one store for decoders, encoders and the engine: big-endian numbers of any width, at
 * any offset, never past the end of the bytes.
 */
#ifndef Q2_FORMAT_LOAD_H
#define Q2_FORMAT_LOAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * The number in the width (0 to 8) bytes from offset on; raw has size bytes. Bytes that raw does
 * not have are zeros.
 */
static inline uint64_t q2_load_within(const uint8_t *raw, size_t size, size_t offset,
				      unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value = value << 8 | (offset + i < size ? raw[offset + i] : 0U);
	return value;
}

/*
 * Stores the number value in the width (0 to 8) bytes from offset on. Stores nothing if raw, which
 * has size bytes, does not have all of them: a field is there or it is not.
 */
static inline void q2_store_within(uint8_t *raw, size_t size, size_t offset, unsigned width,
				   uint64_t value)
{
	if (offset > size || size - offset < width)
		return;
	for (unsigned i = width; i-- > 0; value >>= 8)
		raw[offset + i] = (uint8_t)value;
}

#endif
