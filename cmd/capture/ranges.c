/* SPDX-License-Identifier: MIT */
/* See ranges.h. */
#include "capture/ranges.h"

#include <stdlib.h>

#define ROOM_LEAST ((size_t)64)

static int by_start(const void *left, const void *right)
{
	const struct capture_range *a = left, *b = right;

	return (a->start_bytes > b->start_bytes) - (a->start_bytes < b->start_bytes);
}

void capture_ranges_settle(struct capture_ranges *ranges)
{
	struct capture_range *list = ranges->list;
	size_t kept = 0;

	if (ranges->count == 0)
		return;
	qsort(list, ranges->count, sizeof(*list), by_start);
	for (size_t i = 1; i < ranges->count; i++) {
		if (list[i].start_bytes > list[kept].end_bytes)
			list[++kept] = list[i];
		else if (list[i].end_bytes > list[kept].end_bytes)
			list[kept].end_bytes = list[i].end_bytes;
	}
	ranges->count = kept + 1;
}

/* Makes room for one more. What settles into half of the room needs no more of it. */
static bool make_room(struct capture_ranges *ranges)
{
	size_t room = ranges->room ? 2 * ranges->room : ROOM_LEAST;
	struct capture_range *grown;

	if (ranges->count < ranges->room)
		return true;
	capture_ranges_settle(ranges);
	if (ranges->room > 0 && ranges->count <= ranges->room / 2)
		return true;
	grown = realloc(ranges->list, room * sizeof(*grown));
	ranges->failed |= !grown;
	if (!grown)
		return false;
	ranges->list = grown;
	ranges->room = room;
	return true;
}

void capture_ranges_add(struct capture_ranges *ranges, uint64_t start_bytes, uint64_t length_bytes,
			uint64_t limit_bytes)
{
	struct capture_range *last = ranges->count ? &ranges->list[ranges->count - 1] : NULL;
	uint64_t end_bytes = limit_bytes;

	if (length_bytes == 0 || start_bytes >= limit_bytes)
		return;
	if (length_bytes < limit_bytes - start_bytes)
		end_bytes = start_bytes + length_bytes;
	if (last && last->end_bytes == start_bytes) {
		last->end_bytes = end_bytes;
		return;
	}
	if (make_room(ranges))
		ranges->list[ranges->count++] = (struct capture_range){start_bytes, end_bytes};
}

size_t capture_ranges_find(const struct capture_ranges *ranges, uint64_t offset_bytes)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (ranges->list[middle].end_bytes > offset_bytes)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool capture_ranges_touch(const struct capture_ranges *ranges, uint64_t start_bytes,
			  uint64_t end_bytes)
{
	const size_t i = capture_ranges_find(ranges, start_bytes);

	return i < ranges->count && ranges->list[i].start_bytes < end_bytes;
}

bool capture_ranges_cover(const struct capture_ranges *ranges, uint64_t start_bytes,
			  uint64_t end_bytes)
{
	const size_t i = capture_ranges_find(ranges, start_bytes);

	return i < ranges->count && ranges->list[i].start_bytes <= start_bytes &&
	       ranges->list[i].end_bytes >= end_bytes;
}

void capture_ranges_take_away(struct capture_ranges *ranges, const struct capture_ranges *other)
{
	struct capture_ranges left = {.failed = ranges->failed};

	if (other->count == 0)
		return;
	for (size_t i = 0; i < ranges->count; i++) {
		const struct capture_range *range = &ranges->list[i];
		uint64_t at = range->start_bytes;
		size_t j = capture_ranges_find(other, at);

		for (; j < other->count && other->list[j].start_bytes < range->end_bytes; j++) {
			if (other->list[j].start_bytes > at)
				capture_ranges_add(&left, at, other->list[j].start_bytes - at,
						   UINT64_MAX);
			at = other->list[j].end_bytes;
		}
		if (at < range->end_bytes)
			capture_ranges_add(&left, at, range->end_bytes - at, UINT64_MAX);
	}
	capture_ranges_release(ranges);
	*ranges = left;
}

uint64_t capture_ranges_total(const struct capture_ranges *ranges)
{
	uint64_t total = 0;

	for (size_t i = 0; i < ranges->count; i++)
		total += ranges->list[i].end_bytes - ranges->list[i].start_bytes;
	return total;
}

void capture_ranges_release(struct capture_ranges *ranges)
{
	free(ranges->list);
	*ranges = (struct capture_ranges){.failed = ranges->failed};
}
