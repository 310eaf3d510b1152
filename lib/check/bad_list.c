/* SPDX-License-Identifier: MIT */
/*
 * Lists of bad clusters. An image may be all faults, so a list keeps only the lowest clusters that
 * will be told next, and counts the others. What it keeps depends on the clusters alone, not on the
 * order in which threads found them.
 */
#include <stdlib.h>

#include "check/internal.h"

/* So many of a kind are kept at once; if more are to be told, the search begins again there. */
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

static uint64_t kept_most(const struct qcow2_check *check, enum q2_bad kind)
{
	return check->bad_left[kind] < KEPT_MOST ? check->bad_left[kind] : KEPT_MOST;
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

static bool push(struct qcow2_check *check, struct q2_bad_list *list, uint64_t most,
		 const struct q2_bad_cluster *item)
{
	if (most == 0)
		return true;
	if (list->full && item->cluster >= list->bound)
		return true;
	if (list->count >= 2 * most) {
		sort(list);
		list->count = (size_t)most;
		list->full = true;
		list->bound = list->items[most - 1].cluster;
	}
	if (list->count == list->capacity && !q2_memory_grow(&check->memory, (void **)&list->items,
							     &list->capacity, sizeof(*list->items)))
		return false;
	list->items[list->count++] = *item;
	return true;
}

bool q2_bad_list_add(struct qcow2_check *check, struct q2_bad_list *list, enum q2_bad kind,
		     const struct q2_bad_cluster *item)
{
	list->total++;
	return push(check, list, kept_most(check, kind), item);
}

bool q2_bad_list_is_past(const struct qcow2_check *check, const struct q2_bad_list *list,
			 enum q2_bad kind, uint64_t cluster)
{
	return check->bad_left[kind] == 0 || (list->full && cluster >= list->bound);
}

bool q2_bad_list_merge(struct qcow2_check *check, struct q2_bad_list *list, enum q2_bad kind,
		       struct q2_bad_list *other)
{
	uint64_t most = kept_most(check, kind);

	if (list != other) {
		list->total += other->total;
		for (size_t i = 0; i < other->count; i++)
			if (!push(check, list, most, &other->items[i]))
				return false;
		q2_bad_list_release(check, other);
	}
	sort(list);
	if (list->count > most)
		list->count = (size_t)most;
	return true;
}

void q2_bad_list_release(struct qcow2_check *check, struct q2_bad_list *list)
{
	q2_memory_put(&check->memory, list->items, list->capacity, sizeof(*list->items));
	*list = (struct q2_bad_list){0};
}
