/* SPDX-License-Identifier: MIT */
/* See kept.h. */
#include "repair/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for one more element. Returns the array, or NULL if memory is short. */
static void *grow(void *list, size_t *capacity, size_t count, size_t size)
{
	void *grown;

	if (count < *capacity)
		return list;
	grown = realloc(list, (*capacity ? *capacity * 2 : 16) * size);
	if (grown)
		*capacity = *capacity ? *capacity * 2 : 16;
	return grown;
}

static bool is_of_snapshot(const struct qcow2_repair_step *step)
{
	return step->has_guest && step->guest_of == QCOW2_PART_OF_SNAPSHOT;
}

static bool belongs(const struct repair_group *group, const struct qcow2_repair_step *step)
{
	return group->kind == step->kind && group->costs == step->costs &&
	       group->has_guest == step->has_guest && group->before == step->before &&
	       group->after == step->after && (group->of_name != NULL) == is_of_snapshot(step) &&
	       (group->rest || ((!group->of_name || group->of_index == step->guest_of_index) &&
				strcmp(group->does, step->does) == 0));
}

/* The newest groups come first: most steps do what the one before them did. */
static size_t find(const struct repair_kept *kept, const struct qcow2_repair_step *step)
{
	for (size_t i = kept->group_count; i-- > 0;)
		if (belongs(&kept->groups[i], step))
			return i;
	return REPAIR_NONE;
}

/* Whether a new group has to take all steps that are like its first, whatever they say. */
static bool is_full(const struct repair_kept *kept)
{
	return kept->group_count >=
	       (kept->most_per_group == UINT64_MAX ? REPAIR_GROUPS_OF_ALL : REPAIR_GROUPS_MOST);
}

/* What the steps of a group do. NULL if memory is short. */
static char *does_of(const struct qcow2_repair_step *step, bool rest)
{
	const char *more = rest ? " (or the like)" : "";
	size_t size = strlen(step->does) + strlen(more) + 1;
	char *does = malloc(size);

	if (does)
		snprintf(does, size, "%s%s", step->does, more);
	return does;
}

static bool add_group(struct repair_kept *kept, const struct qcow2_repair_step *step)
{
	bool rest = is_full(kept);
	struct repair_group *group;
	void *grown =
		grow(kept->groups, &kept->group_capacity, kept->group_count, sizeof(*kept->groups));

	if (!grown)
		return false;
	kept->groups = grown;
	group = &kept->groups[kept->group_count];
	*group = (struct repair_group){
		.kind = step->kind,
		.does = does_of(step, rest),
		.of_name = is_of_snapshot(step) ? strdup(rest ? "" : step->guest_of_name) : NULL,
		.of_index = step->guest_of_index,
		.rest = rest,
		.before = step->before,
		.after = step->after,
		.costs = step->costs,
		.has_guest = step->has_guest,
		.first = REPAIR_NONE,
		.last = REPAIR_NONE,
	};
	kept->group_count++;
	return group->does && (group->of_name || !is_of_snapshot(step));
}

static bool add_step(struct repair_kept *kept, size_t group, const struct qcow2_repair_step *step)
{
	struct repair_step *mine;
	void *grown =
		grow(kept->steps, &kept->step_capacity, kept->step_count, sizeof(*kept->steps));

	if (!grown)
		return false;
	kept->steps = grown;
	mine = &kept->steps[kept->step_count];
	*mine = (struct repair_step){
		.next = REPAIR_NONE,
		.group = group,
		.where = strdup(step->where),
		.count = step->count,
		.guest_byte = step->guest_byte,
		.guest_length_bytes = step->guest_length_bytes,
		.of_index = step->guest_of_index,
	};
	if (!mine->where)
		return false;
	if (kept->groups[group].last == REPAIR_NONE)
		kept->groups[group].first = kept->step_count;
	else
		kept->steps[kept->groups[group].last].next = kept->step_count;
	kept->groups[group].last = kept->step_count++;
	kept->groups[group].kept++;
	return true;
}

static bool keep(struct repair_kept *kept, const struct qcow2_repair_step *step)
{
	size_t at = find(kept, step);
	struct repair_group *group;

	if (at == REPAIR_NONE) {
		if (!add_group(kept, step))
			return false;
		at = kept->group_count - 1;
	}
	group = &kept->groups[at];
	group->steps++;
	group->places += step->count;
	if (step->has_guest)
		group->guest_bytes += step->guest_length_bytes;
	return group->kept >= kept->most_per_group || add_step(kept, at, step);
}

bool repair_keep(struct repair_kept *kept, const struct qcow2_repair_step *step)
{
	if (!keep(kept, step))
		kept->short_of_memory = true;
	return !kept->short_of_memory;
}

void repair_kept_release(struct repair_kept *kept)
{
	for (size_t i = 0; i < kept->group_count; i++) {
		free(kept->groups[i].does);
		free(kept->groups[i].of_name);
	}
	for (size_t i = 0; i < kept->step_count; i++)
		free(kept->steps[i].where);
	free(kept->groups);
	free(kept->steps);
	*kept = (struct repair_kept){0};
}
