/* SPDX-License-Identifier: MIT */
/*
 * Tells which clusters are wrong, with their owners, in the order of the clusters. An image may be
 * all faults: only so many are kept at once, and the search goes on where they end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check/internal.h"

/* The names of what owns the clusters that are told. */
struct names {
	struct q2_part_names snapshots, bitmaps;
};

/* The path of an owner, as a selector would spell it. */
static void owner_path(const struct q2_bad_owner *owner, char *path, size_t size)
{
	static const char *const plain[] = {
		[Q2_PART_HEADER] = "header",       [Q2_PART_REFCOUNT_TABLE] = "refcount_table",
		[Q2_PART_SNAPSHOTS] = "snapshots", [Q2_PART_BITMAPS] = "bitmaps",
		[Q2_PART_LUKS] = "luks",
	};
	char list[64];

	switch (owner->part) {
	case Q2_PART_L1:
		q2_check_list_path(owner->list, "l1", path, size);
		break;
	case Q2_PART_L2:
	case Q2_PART_DATA:
		q2_check_list_path(owner->list, "l2", list, sizeof(list));
		if (owner->part == Q2_PART_L2)
			snprintf(path, size, "%s/%" PRIu64, list, owner->index);
		else
			snprintf(path, size, "%s/%" PRIu64 "/%" PRIu64, list, owner->index,
				 owner->entry);
		break;
	case Q2_PART_REFCOUNT_BLOCK:
		snprintf(path, size, "refcounts/%" PRIu64, owner->index);
		break;
	case Q2_PART_BITMAP_TABLE:
		snprintf(path, size, "bitmaps/%" PRIu64 "/table", owner->list);
		break;
	case Q2_PART_BITMAP_DATA:
		snprintf(path, size, "bitmaps/%" PRIu64 "/table/%" PRIu64, owner->list,
			 owner->index);
		break;
	default:
		snprintf(path, size, "%s", plain[owner->part]);
	}
}

enum qcow2_part_of q2_check_part_of(const struct q2_bad_owner *owner, uint64_t *index)
{
	bool listed = owner->part == Q2_PART_L1 || owner->part == Q2_PART_L2 ||
		      owner->part == Q2_PART_DATA;

	*index = owner->list;
	if (owner->part == Q2_PART_BITMAP_TABLE || owner->part == Q2_PART_BITMAP_DATA)
		return QCOW2_PART_OF_BITMAP;
	if (!listed || owner->list == Q2_ACTIVE)
		return QCOW2_PART_OF_IMAGE;
	*index = owner->list - 1;
	return QCOW2_PART_OF_SNAPSHOT;
}

static void fill_owner(const struct qcow2_check *check, const struct names *names,
		       const struct q2_bad_owner *bad, struct qcow2_owner *owner)
{
	owner->size = sizeof(*owner);
	owner_path(bad, owner->where, sizeof(owner->where));
	owner->part_of = q2_check_part_of(bad, &owner->part_of_index);
	if (owner->part_of == QCOW2_PART_OF_IMAGE)
		owner->part_of_index = 0;
	else
		snprintf(owner->part_of_name, sizeof(owner->part_of_name), "%s",
			 q2_part_names_get(owner->part_of == QCOW2_PART_OF_SNAPSHOT
						   ? &names->snapshots
						   : &names->bitmaps,
					   owner->part_of_index));
	owner->has_guest = bad->has_guest;
	owner->guest_byte = bad->guest_byte;
	owner->guest_length_bytes = check->geometry->cluster_size_bytes;
}

/* By cluster, then by kind of problem: the order in which they are told. */
static int by_cluster(const void *left, const void *right)
{
	const struct q2_bad_cluster *a = *(struct q2_bad_cluster *const *)left;
	const struct q2_bad_cluster *b = *(struct q2_bad_cluster *const *)right;

	if (a->cluster != b->cluster)
		return a->cluster < b->cluster ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static void tell(struct qcow2_check *check, const struct names *names,
		 const struct q2_bad_cluster *item)
{
	struct qcow2_owner owners[QCOW2_PROBLEM_OWNERS_MAX] = {0};
	const struct qcow2_owner *pointers[QCOW2_PROBLEM_OWNERS_MAX];
	uint64_t per_block = check->geometry->refcount_block_entries;
	struct qcow2_problem problem = {
		.size = sizeof(problem),
		.kind = qcow2_problem_kind_get(item->id),
		.offset_bytes = item->cluster << check->geometry->cluster_bits,
		.has_found = true,
		.found = item->refcount,
		.expectation = QCOW2_EXPECT_VALUE,
		.expected = item->count,
		.owner_count = item->owner_count,
		.owners_total = item->owners_total,
		.owners = pointers,
	};

	if (item->id == QCOW2_PROBLEM_REFCOUNT_OVERFLOW) {
		problem.expectation = QCOW2_EXPECT_AT_MOST;
		problem.found = item->count;
		problem.expected = UINT64_MAX >> (64 - check->geometry->refcount_bits);
	}
	if (item->id == QCOW2_PROBLEM_COPIED_SET || item->id == QCOW2_PROBLEM_COPIED_CLEAR ||
	    item->id == QCOW2_PROBLEM_CLUSTER_OWNERS)
		problem.expectation = QCOW2_EXPECT_NOTHING;
	for (unsigned i = 0; i < item->owner_count; i++) {
		fill_owner(check, names, &item->owners[i], &owners[i]);
		pointers[i] = &owners[i];
	}
	if (item->owner_count > 0) {
		problem.has_guest = item->owners[0].has_guest;
		problem.guest_byte = item->owners[0].guest_byte;
		problem.guest_length_bytes = check->geometry->cluster_size_bytes;
	}
	snprintf(problem.where, sizeof(problem.where), "refcounts/%" PRIu64 "/%" PRIu64,
		 item->cluster / per_block, item->cluster % per_block);
	q2_check_tell(check, &problem);
}

/* The first cluster from which on a list that was cut may lack some that are to be told. */
static uint64_t complete_until(const struct qcow2_check *check)
{
	uint64_t until = UINT64_MAX;

	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++) {
		const struct q2_bad_list *list = &check->workers[0].bad[kind];

		if (list->count == list->total || list->count == check->bad_left[kind])
			continue;
		if (list->items[list->count - 1].cluster + 1 < until)
			until = list->items[list->count - 1].cluster + 1;
	}
	return until;
}

/* Counts, or if there is a list gathers, the clusters of all kinds before one. */
static void gather(struct qcow2_check *check, uint64_t until, struct q2_bad_owner *owners)
{
	check->named_count = 0;
	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++) {
		struct q2_bad_list *list = &check->workers[0].bad[kind];

		for (size_t i = 0; i < list->count && list->items[i].cluster < until; i++) {
			size_t at = check->named_count++;

			if (!check->named)
				continue;
			list->items[i].id = q2_bad_id(kind);
			list->items[i].owners = &owners[at * QCOW2_PROBLEM_OWNERS_MAX];
			check->named[at] = &list->items[i];
			if (check->bad_left[kind] != UINT64_MAX)
				check->bad_left[kind]--;
		}
	}
	if (check->named)
		qsort(check->named, check->named_count, sizeof(*check->named), by_cluster);
}

static int name_and_tell(struct qcow2_check *check)
{
	struct names names = {0};
	int result = -1;

	if (q2_check_find_owners(check) == 0 &&
	    q2_part_names_find(check, QCOW2_PART_OF_SNAPSHOT, &names.snapshots) == 0 &&
	    q2_part_names_find(check, QCOW2_PART_OF_BITMAP, &names.bitmaps) == 0) {
		for (size_t i = 0; i < check->named_count; i++)
			tell(check, &names, check->named[i]);
		result = 0;
	}
	q2_part_names_release(check, &names.snapshots);
	q2_part_names_release(check, &names.bitmaps);
	return result;
}

/* Those of the clusters in the lists that are before one. */
static int tell_until(struct qcow2_check *check, uint64_t until)
{
	struct q2_bad_owner *owners;
	size_t count;
	int result = -1;

	gather(check, until, NULL);
	count = check->named_count;
	if (count == 0)
		return 0;
	check->named = q2_memory_get(&check->memory, count, sizeof(*check->named));
	owners = q2_memory_get(&check->memory, count * QCOW2_PROBLEM_OWNERS_MAX, sizeof(*owners));
	if (check->named && owners) {
		gather(check, until, owners);
		result = name_and_tell(check);
	} else {
		q2_check_fail_memory(check, check->err);
	}
	q2_memory_put(&check->memory, owners, count * QCOW2_PROBLEM_OWNERS_MAX, sizeof(*owners));
	q2_memory_put(&check->memory, check->named, count, sizeof(*check->named));
	check->named = NULL;
	return result;
}

int q2_check_tell_clusters(struct qcow2_check *check)
{
	uint64_t until = complete_until(check);

	while (tell_until(check, until) == 0) {
		if (until == UINT64_MAX)
			return 0;
		check->bad_from = until;
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			q2_bad_list_release(check, &check->workers[0].bad[kind]);
		if (q2_check_refcounts(check))
			return -1;
		until = complete_until(check);
	}
	return -1;
}
