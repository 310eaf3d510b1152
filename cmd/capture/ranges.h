/* SPDX-License-Identifier: MIT */
/* Sets of bytes of a file: ranges that rise and do not touch each other, once they are settled. */
#ifndef CMD_CAPTURE_RANGES_H
#define CMD_CAPTURE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_range {
	uint64_t start_bytes, end_bytes;
};

/* Zeros are an empty set. `failed`: memory was short, and ranges are missing. */
struct capture_ranges {
	struct capture_range *list;
	size_t count, room;
	bool failed;
};

/*
 * Adds bytes, as far as they lie in front of limit_bytes: an image may claim any. Ranges that are
 * added again and again take no more memory than those that are different.
 */
void capture_ranges_add(struct capture_ranges *ranges, uint64_t start_bytes, uint64_t length_bytes,
			uint64_t limit_bytes);

/* Sorts and joins. The functions below are for ranges that are settled. */
void capture_ranges_settle(struct capture_ranges *ranges);

/* Takes all of `other`, which is settled, away. */
void capture_ranges_take_away(struct capture_ranges *ranges, const struct capture_ranges *other);

/* The number of the first range that ends behind an offset; count if there is none. */
size_t capture_ranges_find(const struct capture_ranges *ranges, uint64_t offset_bytes);

/* Whether any of the bytes [start_bytes, end_bytes), or all of them, are in the set. */
bool capture_ranges_touch(const struct capture_ranges *ranges, uint64_t start_bytes,
			  uint64_t end_bytes);
bool capture_ranges_cover(const struct capture_ranges *ranges, uint64_t start_bytes,
			  uint64_t end_bytes);

uint64_t capture_ranges_total(const struct capture_ranges *ranges);

void capture_ranges_release(struct capture_ranges *ranges);

#endif
