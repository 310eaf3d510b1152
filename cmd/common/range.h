/* SPDX-License-Identifier: MIT */
/* Ranges as people write them: OFFSET or OFFSET+LENGTH, in bytes or in sectors. */
#ifndef CMD_COMMON_RANGE_H
#define CMD_COMMON_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2/error.h>

struct range {
	uint64_t start;
	uint64_t length; /* at least 1; start + length passes 2^64 by nothing */
	bool has_length; /* was written with one */
};

/*
 * Reads a range. Both numbers may be anything that qcow2_number_parse() takes, or end with an s,
 * which means sectors of 512 bytes.
 *
 * Returns 0, or -1 with *err filled.
 */
int range_parse(const char *text, struct range *range, struct qcow2_error *err);

#endif
