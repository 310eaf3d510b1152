/* SPDX-License-Identifier: MIT */
/* See ranges.h. */
#include "check/ranges.h"

#include <stdlib.h>

/* The most ranges of L2 tables that are kept: 32 MiB. */
#define RANGES_MOST ((size_t)1 << 21)
/* L2 tables have fewer entries. */
#define GRANULE_MOST (UINT32_C(1) << 28)

static int by_place(const void *left, const void *right)
{
	const struct q2_table_range *a = left, *b = right;

	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	if (a->damage != b->damage)
		return a->damage < b->damage ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* Joins b to a if they touch, or if b is inside a. b does not start before a. */
static bool join(struct q2_table_range *a, const struct q2_table_range *b)
{
	uint32_t past = a->first + a->count, end = b->first + b->count;

	if (a->table != b->table || a->damage != b->damage || b->first < a->first ||
	    b->first > past)
		return false;
	if (end > past)
		a->count = end - a->first;
	return true;
}

void q2_ranges_settle(struct q2_ranges *ranges)
{
	size_t kept = 0;

	if (ranges->count > 1)
		qsort(ranges->items, ranges->count, sizeof(*ranges->items), by_place);
	for (size_t i = 0; i < ranges->count; i++)
		if (kept == 0 || !join(&ranges->items[kept - 1], &ranges->items[i]))
			ranges->items[kept++] = ranges->items[i];
	ranges->count = kept;
}

static void round_out(const struct q2_ranges *ranges, struct q2_table_range *range)
{
	uint32_t less = ranges->granule ? ranges->granule - 1 : 0;
	uint32_t end = (range->first + range->count + less) & ~less;

	range->first &= ~less;
	range->count = end - range->first;
}

/* Makes room in a full list: at least half of it is free then, or failed is set. */
static void make_room(struct q2_ranges *ranges)
{
	q2_ranges_settle(ranges);
	while (ranges->count > ranges->capacity / 2) {
		ranges->granule = ranges->granule ? ranges->granule * 16 : 16;
		ranges->coarse = true;
		if (ranges->granule > GRANULE_MOST) {
			ranges->failed = true;
			ranges->count = 0;
			return;
		}
		for (size_t i = 0; i < ranges->count; i++)
			round_out(ranges, &ranges->items[i]);
		q2_ranges_settle(ranges);
	}
}

void q2_ranges_add(struct q2_ranges *ranges, struct q2_table_range range)
{
	if (range.damage > ranges->worst)
		ranges->worst = (enum qcow2_damage)range.damage;
	if (ranges->failed)
		return;
	round_out(ranges, &range);
	if (ranges->count > 0 && join(&ranges->items[ranges->count - 1], &range))
		return;
	if (ranges->count == ranges->capacity &&
	    (ranges->capacity >= RANGES_MOST ||
	     !q2_memory_grow(ranges->memory, (void **)&ranges->items, &ranges->capacity,
			     sizeof(*ranges->items)))) {
		ranges->failed |= ranges->capacity == 0;
		if (!ranges->failed)
			make_room(ranges);
		if (ranges->failed)
			return;
		round_out(ranges, &range);
	}
	ranges->items[ranges->count++] = range;
}

void q2_ranges_release(struct q2_ranges *ranges)
{
	q2_memory_put(ranges->memory, ranges->items, ranges->capacity, sizeof(*ranges->items));
	ranges->items = NULL;
	ranges->count = 0;
	ranges->capacity = 0;
}

/* The first range of that damage or more in a table, or of those behind it, in settled ranges. */
static size_t find(const struct q2_ranges *ranges, uint32_t table, unsigned damage)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct q2_table_range *range = &ranges->items[middle];

		if (range->table < table || (range->table == table && range->damage < damage))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The ranges of one damage in a table: those from at on, before end, are not passed yet. */
struct lane {
	size_t at, end;
};

/*
 * The worst damage to entry `from`, and in *until, which only falls, where that changes. lanes are
 * by damage.
 */
static enum qcow2_damage worst_at(const struct q2_ranges *ranges, struct lane *lanes, uint64_t from,
				  uint64_t *until)
{
	enum qcow2_damage worst = QCOW2_DAMAGE_NONE;

	for (unsigned damage = QCOW2_DAMAGE_LOST; damage > QCOW2_DAMAGE_NONE; damage--) {
		struct lane *lane = &lanes[damage];
		const struct q2_table_range *range;

		while (lane->at < lane->end &&
		       ranges->items[lane->at].first + (uint64_t)ranges->items[lane->at].count <=
			       from)
			lane->at++;
		if (lane->at == lane->end)
			continue;
		range = &ranges->items[lane->at];
		if (range->first > from) {
			if (range->first < *until)
				*until = range->first;
			continue;
		}
		if (range->first + (uint64_t)range->count < *until)
			*until = range->first + (uint64_t)range->count;
		if (worst == QCOW2_DAMAGE_NONE)
			worst = (enum qcow2_damage)damage;
	}
	return worst;
}

void q2_ranges_pieces(const struct q2_ranges *ranges, const struct q2_table_pieces *pieces)
{
	struct lane lanes[QCOW2_DAMAGE_LOST + 1] = {0};
	uint64_t from = 0, until;
	bool more = true;

	for (unsigned damage = QCOW2_DAMAGE_AT_RISK; damage <= QCOW2_DAMAGE_LOST; damage++) {
		lanes[damage].at = find(ranges, pieces->table, damage);
		lanes[damage].end = find(ranges, pieces->table, damage + 1);
	}
	for (; more && from < pieces->entries; from = until) {
		enum qcow2_damage damage;

		until = pieces->entries;
		damage = worst_at(ranges, lanes, from, &until);
		if (damage < pieces->least)
			damage = pieces->least;
		if (damage != QCOW2_DAMAGE_NONE)
			more = pieces->put(pieces->opaque, from, until, damage);
	}
}

bool q2_disk_ranges_add(struct q2_disk_ranges *ranges, struct q2_disk_range range)
{
	if (ranges->count == ranges->capacity &&
	    !q2_memory_grow(ranges->memory, (void **)&ranges->items, &ranges->capacity,
			    sizeof(*ranges->items)))
		return false;
	ranges->items[ranges->count++] = range;
	return true;
}

static int by_disk(const void *left, const void *right)
{
	const struct q2_disk_range *a = left, *b = right;

	return a->disk < b->disk ? -1 : a->disk > b->disk;
}

void q2_disk_ranges_settle(struct q2_disk_ranges *ranges)
{
	if (ranges->count > 1)
		qsort(ranges->items, ranges->count, sizeof(*ranges->items), by_disk);
}

void q2_disk_ranges_release(struct q2_disk_ranges *ranges)
{
	q2_memory_put(ranges->memory, ranges->items, ranges->capacity, sizeof(*ranges->items));
	ranges->items = NULL;
	ranges->count = 0;
	ranges->capacity = 0;
}
