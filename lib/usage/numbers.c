/* SPDX-License-Identifier: MIT */
/* See numbers.h. Open addressing, at most half full. */
#include "usage/numbers.h"

#define FIRST_SLOTS 64

void q2_numbers_release(struct q2_numbers *numbers)
{
	q2_memory_put(numbers->memory, numbers->slots, numbers->slot_count,
		      sizeof(*numbers->slots));
	numbers->slots = NULL;
	numbers->slot_count = 0;
	numbers->count = 0;
}

/* The slot of a key, or the empty one where it would be. */
static struct q2_number_slot *find_slot(const struct q2_numbers *numbers, uint64_t key)
{
	size_t at = (size_t)q2_spread(key) & (numbers->slot_count - 1);

	while (numbers->slots[at].value_plus_one != 0 && numbers->slots[at].key != key)
		at = (at + 1) & (numbers->slot_count - 1);
	return &numbers->slots[at];
}

uint32_t q2_numbers_find(const struct q2_numbers *numbers, uint64_t key)
{
	const struct q2_number_slot *slot;

	if (numbers->slot_count == 0)
		return Q2_NO_NUMBER;
	slot = find_slot(numbers, key);
	return slot->value_plus_one == 0 ? Q2_NO_NUMBER : slot->value_plus_one - 1;
}

static bool grow(struct q2_numbers *numbers)
{
	struct q2_numbers more = *numbers;

	more.slot_count = numbers->slot_count ? numbers->slot_count * 2 : FIRST_SLOTS;
	more.slots = q2_memory_get(numbers->memory, more.slot_count, sizeof(*more.slots));
	if (!more.slots)
		return false;
	for (size_t i = 0; i < numbers->slot_count; i++)
		if (numbers->slots[i].value_plus_one != 0)
			*find_slot(&more, numbers->slots[i].key) = numbers->slots[i];
	q2_numbers_release(numbers);
	*numbers = more;
	return true;
}

bool q2_numbers_put(struct q2_numbers *numbers, uint64_t key, uint32_t value)
{
	if (numbers->count >= numbers->slot_count / 2 && !grow(numbers))
		return false;
	*find_slot(numbers, key) = (struct q2_number_slot){.key = key, .value_plus_one = value + 1};
	numbers->count++;
	return true;
}
