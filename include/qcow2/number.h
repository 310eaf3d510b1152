/* SPDX-License-Identifier: MIT */
/*
 * Numbers as people write them, on command lines and in scripts. Every option, operand and path of
 * the command that is a number is read by this function, so that "010000" is the same number
 * everywhere; programs that take sizes from their users can offer the same spelling.
 */
#ifndef QCOW2_NUMBER_H
#define QCOW2_NUMBER_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* ---- read numbers as people write them ---- */

/*
 * Reads a whole text as one number:
 *
 *   4096  010000      decimal; zeros in front mean nothing
 *   0x1000  0o7  0b1  hexadecimal, octal, binary; the letter and the digits in any case
 *   64k  1M  2GiB     decimal with a unit of 1024, 1024^2, … 1024^6: k, M, G, T, P, E in any case,
 *                     with or without iB behind it; B alone is 1
 *   1.5G              a fraction, if it comes to a whole number
 *
 * Signs, blanks and separators are refused. Units of 1000 do not exist here: "kB" and "MB", which
 * some programs take for 1000 and some for 1024, are refused as well. Only decimal numbers take a
 * unit, as E and B are digits of others.
 *
 * text: NUL terminated.
 * most: the largest number that the caller can use; UINT64_MAX for any.
 * *value: set to the number; to 0 if the call fails.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT. Its text repeats what was given, says
 * what is wrong with it, and shows what would be right, so that it can be shown to the user as it
 * is. Pure and thread safe. Example:
 *
 *         if (qcow2_number_parse(argv[1], UINT32_MAX, &number, &err) != 0)
 *                 fprintf(stderr, "--limit: %s\n", err.text);
 */
QCOW2_API int qcow2_number_parse(const char *text, uint64_t most, uint64_t *value,
				 struct qcow2_error *err);

QCOW2_END_DECLS

#endif
