/* SPDX-License-Identifier: MIT */
/* Random L2 tables of each form, good and bad. */
#ifndef TESTS_UNIT_MAPPING_RANDOM_H
#define TESTS_UNIT_MAPPING_RANDOM_H

#include "mapping_fixture.h"

#include <stdlib.h>

#define COPIED (UINT64_C(1) << 63)
#define PACKED (UINT64_C(1) << 62)

static inline uint64_t one_of(unsigned count)
{
	return (uint64_t)(rand() % (int)count);
}

/* The second word of an extended entry: mostly what a good image has. */
static inline uint64_t random_subclusters(void)
{
	uint64_t allocated = (uint64_t)rand() ^ (uint64_t)rand() << 8;
	uint64_t zeroes = (uint64_t)rand() ^ (uint64_t)rand() << 8;

	switch (one_of(8)) {
	case 0:
		return 0;
	case 1:
		return UINT32_MAX;
	case 2:
		return (uint64_t)UINT32_MAX << 32;
	case 3:
		return (allocated & UINT32_MAX) | (zeroes & UINT32_MAX) << 32;
	case 4:
		return (zeroes & UINT32_MAX) << 32;
	default:
		return (allocated & ~zeroes & UINT32_MAX) | (zeroes & ~allocated & UINT32_MAX)
								    << 32;
	}
}

/* An entry of the cluster `guest`; before is the entry of the cluster before it, often continued. */
static inline uint64_t random_entry(const struct form *form, uint64_t guest, uint64_t before)
{
	uint64_t offset = form->data_file && one_of(16) ? guest : one_of(STORED / BYTES) * BYTES;

	switch (one_of(20)) {
	case 0:
	case 1:
		return 0;
	case 2:
		return 1;
	case 3:
		return offset | 1;
	case 4:
		return PACKED | (STORED - one_of(1500)) | one_of(2) << 61;
	case 5:
		return PACKED | one_of(STORED) | one_of(2) << 61;
	case 6:
		return (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
	case 7:
		return STORED - BYTES * one_of(3) + BYTES;
	case 8:
	case 9:
	case 10:
		return offset | COPIED;
	default:
		return before & ~PACKED ? before + BYTES : 0;
	}
}

static inline void fill_table(const struct form *form, uint64_t at, uint64_t guest)
{
	unsigned width = form->extended ? 16 : 8;
	uint64_t before = 0, last_word = 0, word;

	for (unsigned i = 0; i < BYTES / width; i++, guest += BYTES) {
		before = random_entry(form, guest, before);
		put_be(bytes + at + i * width, 8, before);
		word = one_of(3) ? last_word : random_subclusters();
		if (form->extended)
			put_be(bytes + at + i * width + 8, 8, word);
		last_word = word;
	}
}

#endif
