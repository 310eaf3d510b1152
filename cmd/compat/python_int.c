/* SPDX-License-Identifier: MIT */
/* See python_int.h. */
#include "compat/python_int.h"

#include <stddef.h>
#include <string.h>

#include <qcow2/text.h>

/* More decimal digits Python refuses, as it would take long to convert them. */
#define DECIMAL_DIGITS_MOST 4300

#define OTHER '?' /* no part of a number */

/* The digits 0 of Unicode 15; the other nine follow each. */
static const uint32_t zeros[] = {
	0x660,   0x6f0,   0x7c0,   0x966,   0x9e6,   0xa66,   0xae6,   0xb66,   0xbe6,   0xc66,
	0xce6,   0xd66,   0xde6,   0xe50,   0xed0,   0xf20,   0x1040,  0x1090,  0x17e0,  0x1810,
	0x1946,  0x19d0,  0x1a80,  0x1a90,  0x1b50,  0x1bb0,  0x1c40,  0x1c50,  0xa620,  0xa8d0,
	0xa900,  0xa9d0,  0xa9f0,  0xaa50,  0xabf0,  0xff10,  0x104a0, 0x10d30, 0x11066, 0x110f0,
	0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950,
	0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2,
	0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e950, 0x1fbf0,
};

/* White space of Python's besides that of ASCII. */
static bool is_space(uint32_t character)
{
	return character == 0x85 || character == 0xa0 || character == 0x1680 ||
	       (character >= 0x2000 && character <= 0x200a) || character == 0x2028 ||
	       character == 0x2029 || character == 0x202f || character == 0x205f ||
	       character == 0x3000;
}

/* Where Python is in a text, of which it reads digits and white space of any script as ASCII. */
struct reading {
	struct qcow2_bytes rest;
	char now; /* the character at hand; 0: the end */
	size_t size;
};

static char as_ascii(uint32_t character)
{
	if (character < 0x7f)
		return (char)character;
	if (is_space(character))
		return ' ';
	for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++)
		if (character >= zeros[i] && character < zeros[i] + 10)
			return (char)('0' + (character - zeros[i]));
	return OTHER;
}

static void look(struct reading *r)
{
	uint32_t character;
	bool valid;

	r->size = qcow2_text_next(r->rest, &character, &valid);
	r->now = '\0';
	if (r->size > 0)
		r->now = valid ? as_ascii(character) : OTHER;
}

static void advance(struct reading *r)
{
	r->rest.data += r->size;
	r->rest.size -= r->size;
	look(r);
}

static char following(const struct reading *r)
{
	struct reading next = *r;

	advance(&next);
	return next.now;
}

static void skip_space(struct reading *r)
{
	while (r->now && strchr(" \t\n\r\v\f", r->now))
		advance(r);
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 99;
}

/* The base; then r is behind what says so. */
static unsigned take_base(struct reading *r)
{
	char letter = r->now == '0' ? following(r) : '\0';
	unsigned base = 10;

	if (letter == 'x' || letter == 'X')
		base = 16;
	else if (letter == 'o' || letter == 'O')
		base = 8;
	else if (letter == 'b' || letter == 'B')
		base = 2;
	if (base == 10)
		return 10;
	advance(r);
	advance(r);
	if (r->now == '_') /* one may stand behind the prefix */
		advance(r);
	return base;
}

/* How many digits there are; 0 if underscores are not where they may be. */
static size_t take_digits(struct reading *r, unsigned base, struct python_int *out)
{
	size_t count = 0;
	bool after_digit = false;

	while (digit(r->now) < base || (r->now == '_' && after_digit)) {
		after_digit = r->now != '_';
		if (after_digit) {
			if (__builtin_mul_overflow(out->value, base, &out->value) ||
			    __builtin_add_overflow(out->value, digit(r->now), &out->value))
				out->large = true;
			count++;
		}
		advance(r);
	}
	return after_digit ? count : 0;
}

bool python_int_parse(const char *text, struct python_int *out)
{
	struct reading r = {.rest = {(const uint8_t *)text, strlen(text)}};
	bool zero_first, is_zero;
	unsigned base;
	size_t count;

	*out = (struct python_int){0};
	look(&r);
	skip_space(&r);
	if (r.now == '+' || r.now == '-') {
		out->negative = r.now == '-';
		advance(&r);
	}
	base = take_base(&r);
	zero_first = base == 10 && r.now == '0';
	count = take_digits(&r, base, out);
	skip_space(&r);
	is_zero = !out->large && out->value == 0;
	out->negative = out->negative && !is_zero;
	return count > 0 && r.rest.size == 0 && (!zero_first || is_zero) &&
	       (base != 10 || count <= DECIMAL_DIGITS_MOST);
}
