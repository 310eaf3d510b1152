/* SPDX-License-Identifier: MIT */
/* See told.h. */
#include "repair/told.h"

#include <stdlib.h>

#include "base/alloc.h"

static uint64_t end_of(const struct qcow2_repair_step *step)
{
	uint64_t left = UINT64_MAX - step->guest_byte;

	return step->guest_byte +
	       (step->guest_length_bytes < left ? step->guest_length_bytes : left);
}

int q2_told_add(struct q2_told *told, const struct qcow2_repair_step *step)
{
	struct q2_told_range *last = told->count > 0 ? &told->list[told->count - 1] : NULL;
	struct q2_told_range range = {.start = step->guest_byte, .end = end_of(step)};
	size_t capacity = told->capacity ? told->capacity * 2 : 64;
	void *grown;

	if (!step->has_guest)
		return 0;
	if (step->guest_of == QCOW2_PART_OF_SNAPSHOT)
		range.disk = 1 + step->guest_of_index;
	if (last && last->disk == range.disk && last->end == range.start) {
		last->end = range.end;
		return 0;
	}
	if (told->count == told->capacity) {
		grown = q2_realloc_array(told->list, capacity, sizeof(*told->list));
		if (!grown)
			return -1;
		told->list = grown;
		told->capacity = capacity;
	}
	told->list[told->count++] = range;
	return 0;
}

void q2_told_release(struct q2_told *told)
{
	q2_free(told->list);
	*told = (struct q2_told){0};
}

static int compare(const void *a, const void *b)
{
	const struct q2_told_range *one = a, *other = b;

	if (one->disk != other->disk)
		return one->disk < other->disk ? -1 : 1;
	return one->start < other->start ? -1 : one->start > other->start;
}

void q2_told_sort(struct q2_told *told)
{
	size_t kept = 0;

	if (told->count == 0)
		return;
	qsort(told->list, told->count, sizeof(*told->list), compare);
	for (size_t i = 1; i < told->count; i++) {
		struct q2_told_range *last = &told->list[kept], *range = &told->list[i];

		if (range->disk != last->disk || range->start > last->end)
			told->list[++kept] = *range;
		else if (range->end > last->end)
			last->end = range->end;
	}
	told->count = kept + 1;
}

bool q2_told_covers(const struct q2_told *told, uint64_t disk, uint64_t start, uint64_t end)
{
	size_t low = 0, high = told->count;
	const struct q2_told_range *range;

	/* The last range that begins at `start` or before. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		range = &told->list[middle];
		if (range->disk < disk || (range->disk == disk && range->start <= start))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return false;
	range = &told->list[low - 1];
	return range->disk == disk && range->start <= start && range->end >= end;
}
