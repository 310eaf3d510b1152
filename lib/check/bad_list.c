/* SPDX-License-Identifier: MIT */
/* See bad_list.h. */
#include "check/bad_list.h"

#include <stdlib.h>

/* The most clusters of a kind that are kept; to tell more, the search starts again after them. */
#define KEPT_MOST (UINT64_C(1) << 16)

enum qcow2_problem_id q2_bad_id(enum q2_bad kind)
{
	static const enum qcow2_problem_id ids[Q2_BAD_KINDS] = {
		[Q2_BAD_REFCOUNT_LOW] = QCOW2_PROBLEM_REFCOUNT_LOW,
		[Q2_BAD_REFCOUNT_HIGH] = QCOW2_PROBLEM_REFCOUNT_HIGH,
		[Q2_BAD_OVERFLOW] = QCOW2_PROBLEM_REFCOUNT_OVERFLOW,
		[Q2_BAD_COPIED_SET] = QCOW2_PROBLEM_COPIED_SET,
		[Q2_BAD_COPIED_CLEAR] = QCOW2_PROBLEM_COPIED_CLEAR,
		[Q2_BAD_OWNERS] = QCOW2_PROBLEM_CLUSTER_OWNERS,
	};

	return ids[kind];
}

void q2_bad_list_init(struct q2_bad_list *list, struct q2_memory *memory, uint64_t wanted)
{
	*list = (struct q2_bad_list){.memory = memory,
				     .most = wanted < KEPT_MOST ? wanted : KEPT_MOST};
}

void q2_bad_list_release(struct q2_bad_list *list)
{
	q2_memory_put(list->memory, list->items, list->capacity, sizeof(*list->items));
	list->items = NULL;
	list->count = 0;
	list->capacity = 0;
}

static int by_cluster(const void *left, const void *right)
{
	const struct q2_bad_cluster *a = left, *b = right;

	return a->cluster < b->cluster ? -1 : a->cluster > b->cluster;
}

static void sort(struct q2_bad_list *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), by_cluster);
}

/*
 * Keeps up to twice as many as wanted before it drops the upper half: sorting then costs a constant
 * number of comparisons for each cluster, in whatever order they come.
 */
static bool push(struct q2_bad_list *list, const struct q2_bad_cluster *item)
{
	if (q2_bad_list_is_past(list, item->cluster))
		return true;
	if (list->count >= 2 * list->most) {
		sort(list);
		list->count = (size_t)list->most;
		list->full = true;
		list->bound = list->items[list->most - 1].cluster;
	}
	if (list->count == list->capacity && !q2_memory_grow(list->memory, (void **)&list->items,
							     &list->capacity, sizeof(*list->items)))
		return false;
	list->items[list->count++] = *item;
	return true;
}

bool q2_bad_list_add(struct q2_bad_list *list, const struct q2_bad_cluster *item)
{
	list->total++;
	return push(list, item);
}

bool q2_bad_list_is_past(const struct q2_bad_list *list, uint64_t cluster)
{
	return list->most == 0 || (list->full && cluster >= list->bound);
}

bool q2_bad_list_merge(struct q2_bad_list *list, struct q2_bad_list *other)
{
	if (list != other) {
		list->total += other->total;
		for (size_t i = 0; i < other->count; i++)
			if (!push(list, &other->items[i]))
				return false;
		q2_bad_list_release(other);
		other->total = 0;
	}
	sort(list);
	if (list->count > list->most)
		list->count = (size_t)list->most;
	return true;
}
