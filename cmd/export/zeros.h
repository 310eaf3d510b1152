/* SPDX-License-Identifier: MIT */
/* Finds bytes that are all zeros. */
#ifndef CMD_EXPORT_ZEROS_H
#define CMD_EXPORT_ZEROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Compares the bytes with themselves, one further: libc does that with the widest registers. */
static inline bool zeros_only(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

#endif
