/* SPDX-License-Identifier: MIT */
/* Binary searches among items that rise by a 64-bit number which each of them has. */
#ifndef Q2_BASE_SEARCH_H
#define Q2_BASE_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Items of item_bytes each, with their number at number_at; items may be NULL if count is 0. */
struct q2_rising {
	const void *items;
	size_t count, item_bytes, number_at;
};

/* Items that a pointer leads to, by a member. */
#define Q2_RISING(items, count, type, member)                                                      \
	((struct q2_rising){(items), (count), sizeof(type),                                        \
			    offsetof(type, member) + Q2_RISING_IS_64(((type *)0)->member)})

/* 0; does not compile if a number has another width. */
#define Q2_RISING_IS_64(number) (0 * sizeof(char[sizeof(number) == sizeof(uint64_t) ? 1 : -1]))

/* Numbers alone. */
static inline struct q2_rising q2_rising_numbers(const uint64_t *numbers, size_t count)
{
	return (struct q2_rising){numbers, count, sizeof(*numbers), 0};
}

/* The index of the first item whose number is not below one, or the count. */
static inline size_t q2_rising_lower(struct q2_rising rising, uint64_t number)
{
	size_t low = 0, high = rising.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint64_t here;

		memcpy(&here,
		       (const char *)rising.items + middle * rising.item_bytes + rising.number_at,
		       sizeof(here));
		if (here < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first item that has a number, or NULL. */
static inline const void *q2_rising_find(struct q2_rising rising, uint64_t number)
{
	size_t at = q2_rising_lower(rising, number);
	const char *item =
		at < rising.count ? (const char *)rising.items + at * rising.item_bytes : NULL;
	uint64_t here;

	if (!item)
		return NULL;
	memcpy(&here, item + rising.number_at, sizeof(here));
	return here == number ? item : NULL;
}

#endif
