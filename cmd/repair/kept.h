/* SPDX-License-Identifier: MIT */
/*
 * What a repair told of its steps, put together by what they do. Of each group the first steps are
 * kept and all are counted, so that a repair of millions of entries needs little memory.
 */
#ifndef CMD_REPAIR_KEPT_H
#define CMD_REPAIR_KEPT_H

#include <stdbool.h>
#include <stddef.h>

#include <qcow2/repair.h>

/* Steps of a group that are kept, for people and for programs, unless all are asked for. */
#define REPAIR_SHOWN_TO_PEOPLE   3
#define REPAIR_SHOWN_TO_PROGRAMS 100
/*
 * Groups that are told apart by what their steps say, and by the snapshot: as a rule, and if all
 * steps are asked for. A hostile image may have more. What it has more goes to groups by kind and
 * by effect alone, of which there are few.
 */
#define REPAIR_GROUPS_MOST   512
#define REPAIR_GROUPS_OF_ALL 8192

/* Steps that do the same about problems of one kind, to one disk. */
struct repair_group {
	const struct qcow2_problem_kind *kind;
	char *does;
	char *of_name; /* of the snapshot whose disk is concerned; NULL: none's; rest: empty */
	uint64_t of_index;
	enum qcow2_reads before, after;
	bool costs, has_guest;
	bool rest; /* steps that say different things, of any snapshot */
	uint64_t steps, places, guest_bytes;
	size_t first, last; /* of those that are kept: its chain through `next` */
	size_t kept;
};

/* The end of a chain. */
#define REPAIR_NONE SIZE_MAX

struct repair_step {
	size_t next;
	size_t group;
	char *where;
	uint64_t count;
	uint64_t guest_byte, guest_length_bytes, of_index;
};

/* All zeros but most_per_group: nothing was told. */
struct repair_kept {
	uint64_t most_per_group; /* UINT64_MAX: all */
	struct repair_group *groups;
	size_t group_count, group_capacity;
	struct repair_step *steps;
	size_t step_count, step_capacity;
	bool short_of_memory;
};

/* Keeps a step. False if memory is short. */
bool repair_keep(struct repair_kept *kept, const struct qcow2_repair_step *step);

void repair_kept_release(struct repair_kept *kept);

#endif
