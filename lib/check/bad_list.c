/* SPDX-License-Identifier: MIT */
/*
 * Lists of bad clusters. An image may be all faults, so a list keeps only the lowest clusters that
 * will be told, and counts the others. What it keeps depends on the clusters alone, not on the
 * order in which threads found them.
 */
#include <stdlib.h>

#include "check/internal.h"

static int by_cluster(const void *left, const void *right)
{
	const struct qcow2_bad_cluster *a = left, *b = right;

	return a->cluster < b->cluster ? -1 : a->cluster > b->cluster;
}

static void sort(struct qcow2_bad_list *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), by_cluster);
}

static bool push(struct qcow2_check *check, struct qcow2_bad_list *list,
		 const struct qcow2_bad_cluster *item)
{
	uint64_t most = check->options->max_per_kind;

	if (most != 0 && list->count >= 2 * most) {
		sort(list);
		list->count = (size_t)most;
	}
	if (list->count == list->capacity &&
	    !qcow2_memory_grow(&check->memory, (void **)&list->items, &list->capacity,
			       sizeof(*list->items)))
		return false;
	list->items[list->count++] = *item;
	return true;
}

bool qcow2_bad_list_add(struct qcow2_check *check, struct qcow2_bad_list *list,
			const struct qcow2_bad_cluster *item)
{
	list->total++;
	return push(check, list, item);
}

bool qcow2_bad_list_merge(struct qcow2_check *check, struct qcow2_bad_list *list,
			  struct qcow2_bad_list *other)
{
	uint64_t most = check->options->max_per_kind;

	if (list != other) {
		list->total += other->total;
		for (size_t i = 0; i < other->count; i++)
			if (!push(check, list, &other->items[i]))
				return false;
		qcow2_bad_list_release(check, other);
	}
	sort(list);
	if (most != 0 && list->count > most)
		list->count = (size_t)most;
	return true;
}

void qcow2_bad_list_release(struct qcow2_check *check, struct qcow2_bad_list *list)
{
	qcow2_memory_put(&check->memory, list->items, list->capacity, sizeof(*list->items));
	*list = (struct qcow2_bad_list){0};
}
