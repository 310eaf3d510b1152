/* SPDX-License-Identifier: MIT */
/*
 * A reader over bytes that knows its end. A take past the end yields zero (or no bytes), sets over
 * and consumes the rest, so that a decoder may take everything first and ask once.
 */
#ifndef Q2_BASE_SPAN_H
#define Q2_BASE_SPAN_H

#include "base/bytes.h"

#include <qcow2/base.h>

struct q2_span {
	const uint8_t *data;
	size_t size;
	size_t at; /* <= size */
	bool over; /* something was asked for that is not there; stays set */
};

static inline void q2_span_init(struct q2_span *span, const void *data, size_t size)
{
	*span = (struct q2_span){.data = data, .size = size};
}

static inline size_t q2_span_left(const struct q2_span *span)
{
	return span->size - span->at;
}

/* The next size bytes in place; empty if fewer are left. */
static inline struct qcow2_bytes q2_span_take_bytes(struct q2_span *span, size_t size)
{
	struct qcow2_bytes bytes = {NULL, 0};

	if (size > q2_span_left(span)) {
		span->over = true;
		span->at = span->size;
		return bytes;
	}
	if (size > 0) {
		bytes.data = span->data + span->at;
		bytes.size = size;
		span->at += size;
	}
	return bytes;
}

static inline void q2_span_skip(struct q2_span *span, size_t size)
{
	(void)q2_span_take_bytes(span, size);
}

/* A big-endian number of 1 to 8 bytes. */
static inline uint64_t q2_span_take_be(struct q2_span *span, unsigned width_bytes)
{
	struct qcow2_bytes bytes = q2_span_take_bytes(span, width_bytes);

	return bytes.size ? q2_load_be(bytes.data, width_bytes) : 0;
}

static inline uint8_t q2_span_take_u8(struct q2_span *span)
{
	return (uint8_t)q2_span_take_be(span, 1);
}

static inline uint16_t q2_span_take_u16(struct q2_span *span)
{
	return (uint16_t)q2_span_take_be(span, 2);
}

static inline uint32_t q2_span_take_u32(struct q2_span *span)
{
	return (uint32_t)q2_span_take_be(span, 4);
}

static inline uint64_t q2_span_take_u64(struct q2_span *span)
{
	return q2_span_take_be(span, 8);
}

#endif
