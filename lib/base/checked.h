/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on numbers that an image made up. Every overflow is reported and none happens: the
 * functions that return bool return true if the result does not fit, and then set *out to 0.
 */
#ifndef Q2_BASE_CHECKED_H
#define Q2_BASE_CHECKED_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* True on overflow. */
static inline bool q2_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	bool overflow = __builtin_add_overflow(a, b, out);

	if (overflow)
		*out = 0;
	return overflow;
}

/* True on overflow. */
static inline bool q2_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	bool overflow = __builtin_mul_overflow(a, b, out);

	if (overflow)
		*out = 0;
	return overflow;
}

static inline bool q2_is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* Rounds value up to a multiple of power_of_two. True on overflow. */
static inline bool q2_round_up_u64(uint64_t value, uint64_t power_of_two, uint64_t *out)
{
	assert(q2_is_power_of_two(power_of_two));
	if (q2_add_u64(value, power_of_two - 1, out))
		return true;
	*out &= ~(power_of_two - 1);
	return false;
}

/* Divides and rounds up. Cannot overflow. divisor is not 0. */
static inline uint64_t q2_div_ceil_u64(uint64_t value, uint64_t divisor)
{
	assert(divisor != 0);
	return value / divisor + (value % divisor != 0);
}

/* Whether [offset, offset + length) is within [0, size). An empty range at the end is. */
static inline bool q2_range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

/* Whether [a, a + a_length) and [b, b + b_length) share a byte. The ends may pass 64 bits. */
static inline bool q2_ranges_overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	if (a_length == 0 || b_length == 0)
		return false;
	return a <= b ? b - a < a_length : a - b < b_length;
}

#endif
