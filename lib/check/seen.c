/* SPDX-License-Identifier: MIT */
/* Remembers what the entries of a list have said, to find what must not be said twice. */
#include "check/rules.h"

uint64_t qcow2_seen_before(struct qcow2_names_seen *seen, struct qcow2_name_set *set, uint64_t hash,
			   uint64_t index)
{
	uint64_t earlier = QCOW2_NAME_SET_NEW;

	/* A full set finds no more duplicates, and does no harm. */
	if (qcow2_name_set_insert(set, hash, index, &earlier) == QCOW2_ERROR_MEMORY)
		seen->short_of_memory = true;
	return earlier;
}
