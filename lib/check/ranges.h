/* SPDX-License-Identifier: MIT */
/*
 * Damaged ranges, as they are gathered: entries of L2 tables, which may be mapped by any number of
 * disks, and parts of one disk. Memory is bounded: ranges of L2 tables that do not fit are joined
 * over what lies between them, and said to be coarse.
 */
#ifndef Q2_CHECK_RANGES_H
#define Q2_CHECK_RANGES_H

#include "base/memory.h"

#include <qcow2/problem.h>

/* Entries [first, first + count) of an L2 table, by its number in the list of distinct tables. */
struct q2_table_range {
	uint32_t table;
	uint32_t first, count;
	uint32_t damage; /* enum qcow2_damage */
};

struct q2_ranges {
	struct q2_memory *memory;
	struct q2_table_range *items;
	size_t count, capacity;
	uint32_t granule;        /* entries that ranges are rounded to; 0 counts as 1 */
	enum qcow2_damage worst; /* that was ever added */
	bool coarse;             /* ranges hold entries that were not added */
	bool failed;             /* there is no room for any: all are dropped */
};

/* Adds a range. Cheap if it follows the one that was added last. */
void q2_ranges_add(struct q2_ranges *ranges, struct q2_table_range range);

/* Sorts by table, damage and entry, and joins ranges of one damage that touch each other. */
void q2_ranges_settle(struct q2_ranges *ranges);

void q2_ranges_release(struct q2_ranges *ranges);

/*
 * Goes through the ranges of one table in settled ranges, worst first: calls put for pieces that
 * rise and do not overlap, each with the worst damage to it, until it returns false. least is the
 * damage to all other entries; entries is their number.
 */
struct q2_table_pieces {
	uint32_t table;
	uint64_t entries;
	enum qcow2_damage least;
	bool (*put)(void *opaque, uint64_t first, uint64_t end, enum qcow2_damage damage);
	void *opaque;
};

void q2_ranges_pieces(const struct q2_ranges *ranges, const struct q2_table_pieces *pieces);

/* Bytes [first, end) of one disk: 0 is the active one, 1 + i that of snapshot i. */
struct q2_disk_range {
	uint64_t disk;
	uint64_t first, end;
	enum qcow2_damage damage;
};

struct q2_disk_ranges {
	struct q2_memory *memory;
	struct q2_disk_range *items;
	size_t count, capacity;
};

/* False if memory is short. */
bool q2_disk_ranges_add(struct q2_disk_ranges *ranges, struct q2_disk_range range);

/* Sorts by disk. */
void q2_disk_ranges_settle(struct q2_disk_ranges *ranges);

void q2_disk_ranges_release(struct q2_disk_ranges *ranges);

#endif
