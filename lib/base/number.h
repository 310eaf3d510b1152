/* SPDX-License-Identifier: MIT */
/* Indexes: numbers without a unit. qcow2_number_parse() (qcow2/number.h) reads sizes. */
#ifndef Q2_BASE_NUMBER_H
#define Q2_BASE_NUMBER_H

#include <qcow2/number.h>

/*
 * Reads all of size bytes as a number of any base, without a fraction or a unit: where both a name
 * and an index may stand, "64k" is a name. Returns false, and sets *value to 0, if it is no number
 * or does not fit 64 bits.
 */
bool q2_index_parse(const char *text, size_t size, uint64_t *value);

#endif
