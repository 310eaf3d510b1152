/* SPDX-License-Identifier: MIT */
/* A map from keys of 64 bits, such as pairs of numbers, to numbers. Accounted for in a q2_memory. */
#ifndef Q2_USAGE_NUMBERS_H
#define Q2_USAGE_NUMBERS_H

#include "base/memory.h"

/* No value is this: it stands for a key that is not there, and for a result that failed. */
#define Q2_NO_NUMBER UINT32_MAX

struct q2_number_slot {
	uint64_t key;
	uint32_t value_plus_one; /* 0: the slot is empty */
};

/* Zeros but for memory are an empty map. */
struct q2_numbers {
	struct q2_memory *memory;
	struct q2_number_slot *slots;
	size_t count;
	size_t slot_count; /* 0 or a power of two */
};

void q2_numbers_release(struct q2_numbers *numbers);

/* Returns the value of a key, or Q2_NO_NUMBER. */
uint32_t q2_numbers_find(const struct q2_numbers *numbers, uint64_t key);

/* Adds a key that is not there yet. False if memory is short. */
bool q2_numbers_put(struct q2_numbers *numbers, uint64_t key, uint32_t value);

/* One key of two numbers. */
static inline uint64_t q2_pair(uint32_t a, uint32_t b)
{
	return (uint64_t)a << 32 | b;
}

/* Spreads keys that are close to each other. */
static inline uint64_t q2_spread(uint64_t key)
{
	key *= UINT64_C(0x9e3779b97f4a7c15);
	return key ^ key >> 32;
}

#endif
