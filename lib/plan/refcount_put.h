/* SPDX-License-Identifier: MIT */
/* Stores a refcount of any width ("Host cluster management"); check/classify.h reads them. */
#ifndef Q2_PLAN_REFCOUNT_PUT_H
#define Q2_PLAN_REFCOUNT_PUT_H

#include <stdint.h>

/* The refcount of that index of a block. Below 8 bits, least significant first; else big-endian. */
static inline void q2_refcount_put(uint8_t *bytes, uint64_t index, unsigned width,
				   uint64_t refcount)
{
	if (width < 8) {
		unsigned shift = (unsigned)(index * width % 8);
		uint8_t mask = (uint8_t)(((1U << width) - 1) << shift);
		uint8_t *byte = &bytes[index * width / 8];

		*byte = (uint8_t)((*byte & ~mask) | (refcount << shift & mask));
		return;
	}
	for (unsigned i = width / 8; i-- > 0; refcount >>= 8)
		bytes[index * (width / 8) + i] = (uint8_t)refcount;
}

#endif
