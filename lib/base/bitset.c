/* SPDX-License-Identifier: MIT */
/*
 * Bitsets by 64-bit words, and the counting of ones, which bounds how fast bitmaps are summed up.
 */
#include "base/bitset.h"

#include "base/alloc.h"

#include <string.h>

static uint64_t word_count(uint64_t bit_count)
{
	return bit_count / 64 + (bit_count % 64 != 0);
}

bool q2_bitset_init(struct q2_bitset *set, uint64_t bit_count)
{
	uint64_t words = word_count(bit_count);

	*set = (struct q2_bitset){0};
	if (words > SIZE_MAX / sizeof(uint64_t))
		return false;
	set->words = q2_alloc_array((size_t)words, sizeof(uint64_t));
	if (!set->words)
		return false;
	set->bit_count = bit_count;
	return true;
}

void q2_bitset_release(struct q2_bitset *set)
{
	q2_free(set->words);
	*set = (struct q2_bitset){0};
}

uint64_t q2_bitset_next(const struct q2_bitset *set, uint64_t from)
{
	uint64_t index, word;

	if (from >= set->bit_count)
		return set->bit_count;
	/* Bits from bit_count on are never set, so whole words can be searched. */
	index = from / 64;
	word = set->words[index] & UINT64_MAX << (from % 64);
	while (word == 0) {
		if (++index == word_count(set->bit_count))
			return set->bit_count;
		word = set->words[index];
	}
	return index * 64 + (uint64_t)__builtin_ctzll(word);
}

uint64_t q2_bitset_count(const struct q2_bitset *set)
{
	return q2_count_ones(set->words, (size_t)word_count(set->bit_count) * sizeof(uint64_t));
}

/* Uses four counters, since with one each addition would wait for the one before. */
static inline __attribute__((always_inline)) uint64_t count_words(const uint8_t *bytes, size_t size)
{
	uint64_t ones[4] = {0}, words[4];

	for (; size >= sizeof(words); size -= sizeof(words), bytes += sizeof(words)) {
		memcpy(words, bytes, sizeof(words));
		for (int i = 0; i < 4; i++)
			ones[i] += (uint64_t)__builtin_popcountll(words[i]);
	}
	if (size > 0) {
		/* Less than four words are left. Fill them up with zeros. */
		memset(words, 0, sizeof(words));
		memcpy(words, bytes, size);
		for (int i = 0; i < 4; i++)
			ones[i] += (uint64_t)__builtin_popcountll(words[i]);
	}
	return ones[0] + ones[1] + ones[2] + ones[3];
}

#if defined(__x86_64__) && !defined(__POPCNT__)
/*
 * Not every x86-64 processor has the instruction. Without it, counting takes three times as long.
 */
__attribute__((target("popcnt"))) static uint64_t count_popcnt(const uint8_t *bytes, size_t size)
{
	return count_words(bytes, size);
}

uint64_t q2_count_ones(const void *data, size_t size)
{
	if (__builtin_cpu_supports("popcnt"))
		return count_popcnt(data, size);
	return count_words(data, size);
}
#else
uint64_t q2_count_ones(const void *data, size_t size)
{
	return count_words(data, size);
}
#endif
