/* SPDX-License-Identifier: MIT */
/* Numbers as people read them, in the caller's buffer of HUMAN_MAX bytes; and cutting text. */
#ifndef CMD_OUT_HUMAN_H
#define CMD_OUT_HUMAN_H

#include <stddef.h>
#include <stdint.h>

#include <qcow2/text.h>

#define HUMAN_MAX 64

/* "8 MiB", "1.5 GiB", "512 B"; at most three digits unless it is exact. Returns buffer. */
const char *human_size(uint64_t bytes, char *buffer);

/* "2026-11-23 08:11:54 UTC". Returns buffer. */
const char *human_time(uint64_t seconds, char *buffer);

/* "1:02:03.004" for nanoseconds. Returns buffer. */
const char *human_duration(uint64_t nanoseconds, char *buffer);

/* Returns the start of a text: at most `most` bytes, and no part of a character at the end. */
struct qcow2_bytes human_cut(struct qcow2_bytes text, size_t most);

#endif
