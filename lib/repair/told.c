/* SPDX-License-Identifier: MIT */
/* See said.h. */
#include "repair/said.h"

#include <stdlib.h>

#include "base/alloc.h"

static uint64_t end_of(const struct qcow2_repair_step *step)
{
	uint64_t left = UINT64_MAX - step->guest_byte;

	return step->guest_byte +
	       (step->guest_length_bytes < left ? step->guest_length_bytes : left);
}

int q2_said_add(struct q2_said *said, const struct qcow2_repair_step *step)
{
	struct q2_said_range *last = said->count > 0 ? &said->list[said->count - 1] : NULL;
	struct q2_said_range range = {.start = step->guest_byte, .end = end_of(step)};
	size_t capacity = said->capacity ? said->capacity * 2 : 64;
	void *grown;

	if (!step->has_guest)
		return 0;
	if (step->guest_of == QCOW2_PART_OF_SNAPSHOT)
		range.disk = 1 + step->guest_of_index;
	if (last && last->disk == range.disk && last->end == range.start) {
		last->end = range.end;
		return 0;
	}
	if (said->count == said->capacity) {
		grown = q2_realloc_array(said->list, capacity, sizeof(*said->list));
		if (!grown)
			return -1;
		said->list = grown;
		said->capacity = capacity;
	}
	said->list[said->count++] = range;
	return 0;
}

void q2_said_release(struct q2_said *said)
{
	q2_free(said->list);
	*said = (struct q2_said){0};
}

static int compare(const void *a, const void *b)
{
	const struct q2_said_range *one = a, *other = b;

	if (one->disk != other->disk)
		return one->disk < other->disk ? -1 : 1;
	return one->start < other->start ? -1 : one->start > other->start;
}

void q2_said_sort(struct q2_said *said)
{
	size_t kept = 0;

	if (said->count == 0)
		return;
	qsort(said->list, said->count, sizeof(*said->list), compare);
	for (size_t i = 1; i < said->count; i++) {
		struct q2_said_range *last = &said->list[kept], *range = &said->list[i];

		if (range->disk != last->disk || range->start > last->end)
			said->list[++kept] = *range;
		else if (range->end > last->end)
			last->end = range->end;
	}
	said->count = kept + 1;
}

bool q2_said_covers(const struct q2_said *said, uint64_t disk, uint64_t start, uint64_t end)
{
	size_t low = 0, high = said->count;
	const struct q2_said_range *range;

	/* The last range that begins at `start` or before. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		range = &said->list[middle];
		if (range->disk < disk || (range->disk == disk && range->start <= start))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return false;
	range = &said->list[low - 1];
	return range->disk == disk && range->start <= start && range->end >= end;
}
