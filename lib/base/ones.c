/* SPDX-License-Identifier: MIT */
/* See ones.h. */
#include "base/ones.h"

#include <string.h>

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
