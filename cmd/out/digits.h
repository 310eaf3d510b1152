/* SPDX-License-Identifier: MIT */
/* Writes numbers, eight digits at a step. Inline: it is half of the time of printing. */
#ifndef CMD_OUT_DIGITS_H
#define CMD_OUT_DIGITS_H

#include <stdint.h>
#include <string.h>

#define DIGITS_EIGHT UINT64_C(100000000)

/* The most bytes that digits_put() touches behind `to`. */
#define DIGITS_ROOM 32

/* A number whose lowest byte is to be the first in memory. */
static inline uint64_t digits_little_endian(uint64_t number)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(number);
#else
	return number;
#endif
}

/*
 * The eight digits of a number below 10^8, one a byte, the first one lowest: splits it into halves,
 * pairs and digits, all of one size at once.
 */
static inline uint64_t digits_eight(uint64_t number)
{
	uint64_t word = number / 10000 | number % 10000 << 32;
	uint64_t high = word * 10486 >> 20 & UINT64_C(0x7f0000007f);

	word = high | (word - 100 * high) << 16;
	high = word * 103 >> 10 & UINT64_C(0x000f000f000f000f);
	return high | (word - 10 * high) << 8;
}

static inline void digits_put_word(char *to, uint64_t digits)
{
	const uint64_t text = digits_little_endian(digits + UINT64_C(0x3030303030303030));

	memcpy(to, &text, sizeof(text));
}

/* Writes a number below 10^8 without zeros in front. */
static inline char *digits_put_first(char *to, uint64_t number)
{
	const uint64_t digits = digits_eight(number);
	/* The last digit is always written. */
	const unsigned zeros = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8;

	digits_put_word(to, digits >> 8 * zeros);
	return to + 8 - zeros;
}

/* Writes a number. `to` has DIGITS_ROOM bytes of room. Returns the end of the number. */
static inline char *digits_put(char *to, uint64_t number)
{
	const uint64_t eight = DIGITS_EIGHT;

	if (number < eight)
		return digits_put_first(to, number);
	if (number < eight * eight) {
		to = digits_put_first(to, number / eight);
	} else {
		to = digits_put_first(to, number / eight / eight);
		digits_put_word(to, digits_eight(number / eight % eight));
		to += 8;
	}
	digits_put_word(to, digits_eight(number % eight));
	return to + 8;
}

/* The digits of 32 bits in hexadecimal, one a byte, the first one lowest. */
static inline uint64_t digits_hex_eight(uint32_t number)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t x = number;

	/* a digit into each byte, the first one into the highest */
	x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
	x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
	x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	x += ones * '0' + (((x + ones * 6) >> 4) & ones) * ('a' - '9' - 1);
	return __builtin_bswap64(x);
}

/* Writes a number in hexadecimal, without zeros in front. `to` has DIGITS_ROOM bytes of room. */
static inline char *digits_put_hex(char *to, uint64_t number)
{
	const unsigned zeros = number > 0 ? (unsigned)__builtin_clzll(number) / 4 : 15;
	const uint64_t shifted = number << 4 * zeros;
	const uint64_t high = digits_little_endian(digits_hex_eight((uint32_t)(shifted >> 32)));
	const uint64_t low = digits_little_endian(digits_hex_eight((uint32_t)shifted));

	memcpy(to, &high, sizeof(high));
	memcpy(to + sizeof(high), &low, sizeof(low));
	return to + 16 - zeros;
}

#endif
