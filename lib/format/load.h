/* SPDX-License-Identifier: MIT */
/* One load for decoders and engine: a big-endian number whose missing bytes are zeros. */
#ifndef Q2_FORMAT_LOAD_H
#define Q2_FORMAT_LOAD_H

#include <stddef.h>
#include <stdint.h>

/* width bytes (0 to 8) at offset of the size bytes at raw; never reads past them. */
static inline uint64_t q2_load_within(const uint8_t *raw, size_t size, size_t offset,
				      unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value = value << 8 | (offset + i < size ? raw[offset + i] : 0U);
	return value;
}

#endif
