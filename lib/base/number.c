/* SPDX-License-Identifier: MIT */
/* Reads the numbers that people write. See qcow2/number.h. */
#include "base/number.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"

#define NO_DIGIT 36
/* 5^19 and any number of 19 digits fit 64 bits. */
#define FRACTION_MOST 19

/* The faults of a number. */
enum fault { FINE, NONE, TOO_LARGE, UNCLEAR, NOT_WHOLE };

/* The part of a text that has not been read. */
struct cursor {
	const char *at, *end;
};

static unsigned digit(const struct cursor *cursor)
{
	char c = cursor->at < cursor->end ? *cursor->at : '\0';

	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A') + 10;
	return NO_DIGIT;
}

/* Takes a prefix 0x, 0o or 0b. Returns the base. */
static unsigned take_base(struct cursor *cursor)
{
	unsigned base;

	if (cursor->end - cursor->at < 2 || cursor->at[0] != '0')
		return 10;
	switch (cursor->at[1] | 0x20) {
	case 'x':
		base = 16;
		break;
	case 'o':
		base = 8;
		break;
	case 'b':
		base = 2;
		break;
	default:
		return 10;
	}
	cursor->at += 2;
	return base;
}

/* Takes digits. After an overflow it takes the rest of them all the same. */
static enum fault take_digits(struct cursor *cursor, unsigned base, uint64_t *value)
{
	enum fault fault = FINE;

	*value = 0;
	if (digit(cursor) >= base)
		return NONE;
	for (; digit(cursor) < base; cursor->at++)
		if (fault == FINE &&
		    (q2_mul_u64(*value, base, value) || q2_add_u64(*value, digit(cursor), value)))
			fault = TOO_LARGE;
	return fault;
}

/* Takes the digits behind a point, and drops zeros at their end. */
static struct cursor take_fraction(struct cursor *cursor)
{
	struct cursor fraction = {cursor->at, cursor->at};

	while (digit(cursor) < 10)
		cursor->at++;
	fraction.end = cursor->at;
	while (fraction.end > fraction.at && fraction.end[-1] == '0')
		fraction.end--;
	return fraction;
}

/* Takes a unit, as a power of two. */
static enum fault take_unit(struct cursor *cursor, unsigned *shift)
{
	static const char letters[] = "bkmgtpe";
	const char *letter;

	*shift = 0;
	if (cursor->at == cursor->end)
		return FINE;
	letter = strchr(letters, *cursor->at | 0x20);
	if (!letter || digit(cursor) < 10 || (*cursor->at == 'b' && letter == letters))
		return NONE;
	cursor->at++;
	*shift = 10 * (unsigned)(letter - letters);
	if (*shift > 0 && cursor->end - cursor->at == 1 && (*cursor->at | 0x20) == 'b')
		return UNCLEAR;
	if (*shift > 0 && cursor->end - cursor->at == 2 && (cursor->at[0] | 0x20) == 'i' &&
	    (cursor->at[1] | 0x20) == 'b')
		cursor->at += 2;
	return cursor->at == cursor->end ? FINE : NONE;
}

/*
 * Computes digits / 10^n * 2^shift for n digits, which has to be a whole number. It equals
 * digits / 5^n * 2^(shift - n). 5 and 2 have no common divisor, so both factors have to be whole.
 */
static enum fault scale_fraction(struct cursor digits, unsigned shift, uint64_t *value)
{
	unsigned count = (unsigned)(digits.end - digits.at);
	uint64_t power = 1;

	*value = 0;
	if (digits.at == digits.end)
		return FINE;
	if (digits.end - digits.at > FRACTION_MOST)
		return NOT_WHOLE;
	(void)take_digits(&digits, 10, value);
	for (unsigned i = 0; i < count; i++)
		power *= 5;
	if (*value % power != 0)
		return NOT_WHOLE;
	*value /= power;
	if (count <= shift) {
		*value <<= shift - count;
		return FINE;
	}
	power = (UINT64_C(1) << (count - shift)) - 1;
	if (*value & power)
		return NOT_WHOLE;
	*value >>= count - shift;
	return FINE;
}

/* Reads decimal digits, a fraction and a unit. */
static enum fault parse_decimal(struct cursor *cursor, uint64_t *value)
{
	struct cursor fraction = {cursor->at, cursor->at};
	enum fault whole = take_digits(cursor, 10, value), fault;
	uint64_t part;
	unsigned shift;

	if (whole == NONE)
		return NONE;
	if (cursor->at < cursor->end && *cursor->at == '.') {
		cursor->at++;
		if (digit(cursor) >= 10)
			return NONE;
		fraction = take_fraction(cursor);
	}
	fault = take_unit(cursor, &shift);
	if (fault != FINE)
		return fault;
	if (whole != FINE || q2_mul_u64(*value, UINT64_C(1) << shift, value))
		return TOO_LARGE;
	fault = scale_fraction(fraction, shift, &part);
	if (fault == FINE && q2_add_u64(*value, part, value))
		fault = TOO_LARGE;
	return fault;
}

static enum fault parse(const char *text, uint64_t *value)
{
	struct cursor cursor = {text, text + strlen(text)};
	unsigned base = take_base(&cursor);
	enum fault fault;

	if (base == 10)
		return parse_decimal(&cursor, value);
	fault = take_digits(&cursor, base, value);
	return cursor.at == cursor.end ? fault : NONE;
}

int qcow2_number_parse(const char *text, uint64_t most, uint64_t *value, struct qcow2_error *err)
{
	enum fault fault = parse(text, value);

	if (fault == FINE && *value <= most)
		return 0;
	*value = 0;
	switch (fault) {
	case UNCLEAR:
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%.60s' is not clear: write 64k or 64KiB; there are no units of "
			       "1000",
			       text);
	case NOT_WHOLE:
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%.60s' is no whole number: write it as 4096, 1.5G or 0x1000",
			       text);
	case NONE:
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%.60s' is no number: write it as 4096, 64k, 1.5G or 0x1000", text);
	default:
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%.60s' is too large: %" PRIu64 " is the most", text, most);
	}
}

bool q2_index_parse(const char *text, size_t size, uint64_t *value)
{
	struct cursor cursor = {text, text + size};

	if (take_digits(&cursor, take_base(&cursor), value) == FINE && cursor.at == cursor.end)
		return true;
	*value = 0;
	return false;
}
