/* SPDX-License-Identifier: MIT */
/* What one value looks like to people. Nothing here knows a structure of the format. */
#ifndef CMD_OUT_TEXT_VALUE_H
#define CMD_OUT_TEXT_VALUE_H

#include "out/spool.h"

#include <qcow2/walk.h>

/* The most bytes of the image that are shown as digits in one line; more become rows. */
#define TEXT_HEX_IN_LINE 32
/* Enough for any value, terminated: escaping makes six characters of a byte at most. */
#define TEXT_VALUE_MAX (1024 * 6 + 256)

/* Enough for any number with its prefix, terminated. */
#define TEXT_NUMBER_MAX 24

/* The value as one line, cut and counted if it is long; bytes beyond a line are only counted. */
void text_value(char *out, size_t size, const struct qcow2_value *value);

/* A prefix of at most two characters and a number, base 10 or 16; printf is slow in bulk tables. */
void text_number(char *out, const char *prefix, unsigned base, uint64_t number);

/* All the bytes as digits: out needs two characters a byte and one more. */
void text_hex(char *out, struct qcow2_bytes bytes);

/* Rows of 16 bytes with their offsets; equal rows are shown once, and a star for the others. */
void text_hex_rows(struct spool *out, uint64_t offset_bytes, struct qcow2_bytes bytes);

#endif
