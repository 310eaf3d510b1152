/* SPDX-License-Identifier: MIT */
/* Remembers what the entries of a list have said, to find what must not be said twice. */
#include "rules/rules.h"

uint64_t q2_seen_before(struct q2_names_seen *seen, struct q2_name_set *set, uint64_t hash,
			uint64_t index)
{
	uint64_t earlier = Q2_NAME_SET_NEW;

	/* A full set finds no more duplicates, and does no harm. */
	if (q2_name_set_insert(set, hash, index, &earlier) == QCOW2_ERROR_MEMORY)
		seen->short_of_memory = true;
	return earlier;
}
