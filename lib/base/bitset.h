/* SPDX-License-Identifier: MIT */
/*
 * A set of the numbers 0 to bit_count - 1, one bit each, and fast counting of ones in memory.
 */
#ifndef Q2_BASE_BITSET_H
#define Q2_BASE_BITSET_H

#include <assert.h>
#include <qcow2/base.h>

struct q2_bitset {
	uint64_t *words;
	uint64_t bit_count;
};

/* All bits clear. False if memory is short; release is fine then, too. */
bool q2_bitset_init(struct q2_bitset *set, uint64_t bit_count);

void q2_bitset_release(struct q2_bitset *set);

/* The first member that is not below from, or bit_count. */
uint64_t q2_bitset_next(const struct q2_bitset *set, uint64_t from);

/* How many members the set has. */
uint64_t q2_bitset_count(const struct q2_bitset *set);

/* Counts the bits that are one in size bytes at data, of any alignment. data may be NULL if 0. */
uint64_t q2_count_ones(const void *data, size_t size);

static inline bool q2_bitset_has(const struct q2_bitset *set, uint64_t bit)
{
	assert(bit < set->bit_count);
	return set->words[bit / 64] >> (bit % 64) & 1;
}

static inline void q2_bitset_add(struct q2_bitset *set, uint64_t bit)
{
	assert(bit < set->bit_count);
	set->words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void q2_bitset_remove(struct q2_bitset *set, uint64_t bit)
{
	assert(bit < set->bit_count);
	set->words[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

#endif
