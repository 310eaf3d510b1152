/* SPDX-License-Identifier: MIT */
/* Numbers as Python's int(text, 0) reads them. */
#ifndef CMD_COMPAT_PYTHON_INT_H
#define CMD_COMPAT_PYTHON_INT_H

#include <stdbool.h>
#include <stdint.h>

struct python_int {
	uint64_t value; /* its absolute value */
	bool negative;
	bool large; /* does not fit 64 bits: value is meaningless */
};

/*
 * White space around, a sign, then 0x, 0o, 0b or decimal without leading zeros; single underscores
 * between digits. Digits and white space are those of any script, as in Python. False if it is
 * none, or has more decimal digits than Python converts.
 */
bool python_int_parse(const char *text, struct python_int *out);

#endif
