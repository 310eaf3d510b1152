/* SPDX-License-Identifier: MIT */
/* Indexes, which are numbers without a unit. Sizes are qcow2_number_parse()'s (qcow2/number.h). */
#ifndef Q2_BASE_NUMBER_H
#define Q2_BASE_NUMBER_H

#include <qcow2/number.h>

/*
 * Reads all of size bytes as a number of any base, without a fraction or a unit: "64k" is a name
 * where names and indexes can stand. False if it is none, or over 64 bits; *value is 0 then.
 */
bool q2_index_parse(const char *text, size_t size, uint64_t *value);

#endif
