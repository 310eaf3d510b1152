/* SPDX-License-Identifier: MIT */
/* See python_int.h. */
#include "python_int.h"

#include <string.h>

#define WHITE_SPACE " \t\n\r\v\f"

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

/* The base, and text behind what says so. */
static unsigned base_of(const char **text)
{
	unsigned base = 10;

	if ((*text)[0] != '0')
		return 10;
	if (strchr("xX", (*text)[1]) && (*text)[1])
		base = 16;
	else if (strchr("oO", (*text)[1]) && (*text)[1])
		base = 8;
	else if (strchr("bB", (*text)[1]) && (*text)[1])
		base = 2;
	if (base == 10)
		return 10;
	*text += 2;
	if (**text == '_') /* one may stand behind the prefix */
		(*text)++;
	return base;
}

bool python_int_parse(const char *text, struct python_int *out)
{
	bool zero_first, only_zeros = true, after_digit = false;
	unsigned base;

	*out = (struct python_int){0};
	text += strspn(text, WHITE_SPACE);
	if (*text == '+' || *text == '-')
		out->negative = *text++ == '-';
	base = base_of(&text);
	zero_first = base == 10 && *text == '0';
	for (; digit(*text) < base || (*text == '_' && after_digit && digit(text[1]) < base);
	     text++) {
		after_digit = *text != '_';
		if (!after_digit)
			continue;
		only_zeros = only_zeros && *text == '0';
		if (__builtin_mul_overflow(out->value, base, &out->value) ||
		    __builtin_add_overflow(out->value, digit(*text), &out->value))
			out->large = true;
	}
	text += strspn(text, WHITE_SPACE);
	out->negative = out->negative && !only_zeros;
	return after_digit && *text == '\0' && (!zero_first || only_zeros);
}
