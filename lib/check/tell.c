/* SPDX-License-Identifier: MIT */
/*
 * Tells which clusters are wrong, with their owners, in the order of the clusters. An image may be
 * all faults: a limited number is kept at once, and the search goes on where they end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/owner_names.h"
#include "check/stages.h"

/* The names of what owns the clusters that are told. */
struct names {
	struct q2_part_names snapshots, bitmaps;
};

static void fill_owner(const struct names *names, const struct q2_bad_owner *bad,
		       struct qcow2_owner *owner)
{
	const struct qcow2_claim claim = q2_owner_claim(bad);

	owner->size = sizeof(*owner);
	qcow2_claim_where(&claim, owner->where, sizeof(owner->where));
	owner->part_of = bad->part_of;
	owner->part_of_index = bad->part_of_index;
	if (owner->part_of != QCOW2_PART_OF_IMAGE)
		snprintf(owner->part_of_name, sizeof(owner->part_of_name), "%s",
			 q2_part_names_get(owner->part_of == QCOW2_PART_OF_SNAPSHOT
						   ? &names->snapshots
						   : &names->bitmaps,
					   owner->part_of_index));
	owner->has_guest = bad->guest.length_bytes != 0;
	owner->guest_byte = bad->guest.byte;
	owner->guest_length_bytes = bad->guest.length_bytes;
	if (owner->has_guest)
		owner->guest_count = bad->part == QCOW2_CLAIM_L1_TABLE ? 1 : bad->weight;
}

/* The first owner that maps a part of a virtual disk says what the problem concerns. */
static void take_guest(struct qcow2_problem *problem)
{
	const struct qcow2_owner *owner;
	unsigned i = 0;

	while (i < problem->owner_count && !problem->owners[i]->has_guest)
		i++;
	if (i == problem->owner_count)
		return;
	owner = problem->owners[i];
	problem->has_guest = true;
	problem->guest_byte = owner->guest_byte;
	problem->guest_length_bytes = owner->guest_length_bytes;
	problem->guest_count = owner->guest_count;
	problem->guest_of = owner->part_of;
	problem->guest_of_index = owner->part_of_index;
	memcpy(problem->guest_of_name, owner->part_of_name, sizeof(problem->guest_of_name));
}

/*
 * By cluster, then by kind of problem: the order in which they are told, from any number of
 * threads.
 */
static int by_cluster(const void *left, const void *right)
{
	const struct q2_bad_cluster *a = *(struct q2_bad_cluster *const *)left;
	const struct q2_bad_cluster *b = *(struct q2_bad_cluster *const *)right;

	if (a->cluster != b->cluster)
		return a->cluster < b->cluster ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* Where the refcount of a cluster lies, or what should lead to it: see struct qcow2_problem. */
static uint64_t refcount_offset(const struct q2_check *check, uint64_t cluster)
{
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t index = cluster / geometry->refcount_block_entries;
	uint64_t table = check->header->refcount_table_offset;
	uint64_t entries = check->header->refcount_table_clusters *
			   (geometry->cluster_size_bytes / sizeof(uint64_t));
	const struct q2_refcount_block *block = q2_check_block(check, index);

	if (block)
		return block->offset_bytes +
		       cluster % geometry->refcount_block_entries * geometry->refcount_bits / 8;
	if (table == 0 || table >= geometry->file_size_bytes || index >= entries ||
	    index >= (geometry->file_size_bytes - table) / sizeof(uint64_t))
		return QCOW2_NO_OFFSET;
	return table + index * sizeof(uint64_t);
}

static void tell(struct q2_check *check, const struct names *names,
		 const struct q2_bad_cluster *item)
{
	struct qcow2_owner owners[QCOW2_PROBLEM_OWNERS_MAX] = {0};
	const struct qcow2_owner *pointers[QCOW2_PROBLEM_OWNERS_MAX];
	uint64_t per_block = check->geometry->refcount_block_entries;
	struct qcow2_problem problem = {
		.size = sizeof(problem),
		.kind = qcow2_problem_kind_get(item->id),
		.offset_bytes = refcount_offset(check, item->cluster),
		.has_cluster = true,
		.cluster_offset_bytes = item->cluster << check->geometry->cluster_bits,
		.has_found = true,
		.found = item->refcount,
		.expectation = QCOW2_EXPECT_VALUE,
		.expected = item->count,
		.owner_count = item->owner_count,
		.owners_total = item->owners_total,
		.owners = pointers,
	};

	if (item->id == QCOW2_PROBLEM_COPIED_SET || item->id == QCOW2_PROBLEM_COPIED_CLEAR ||
	    item->id == QCOW2_PROBLEM_CLUSTER_OWNERS)
		problem.expectation = QCOW2_EXPECT_NOTHING;
	for (unsigned i = 0; i < item->owner_count; i++) {
		fill_owner(names, &item->owners[i], &owners[i]);
		pointers[i] = &owners[i];
	}
	take_guest(&problem);
	snprintf(problem.where, sizeof(problem.where), "refcounts/%" PRIu64 "/%" PRIu64,
		 item->cluster / per_block, item->cluster % per_block);
	q2_check_tell(check, &problem);
}

/*
 * Clusters are told in their order, whatever is wrong with them. A list that was cut is complete up
 * to its last cluster only, and one of another kind may go further: what can be told now ends with
 * the shortest one. Returns the cluster from which on something may be missing, or UINT64_MAX.
 */
static uint64_t complete_until(const struct q2_check *check)
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

/*
 * Counts, or if named is not NULL gathers, the clusters of all kinds before `until`, in the order
 * in which they are told, and gives them room for owners.
 */
static size_t gather(struct q2_check *check, uint64_t until, struct q2_bad_cluster **named,
		     struct q2_bad_owner *owners)
{
	size_t count = 0;

	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++) {
		struct q2_bad_list *list = &check->workers[0].bad[kind];

		for (size_t i = 0; i < list->count && list->items[i].cluster < until; i++) {
			size_t at = count++;

			if (!named)
				continue;
			list->items[i].id = q2_bad_id(kind);
			list->items[i].owners = &owners[at * QCOW2_PROBLEM_OWNERS_MAX];
			named[at] = &list->items[i];
			if (check->bad_left[kind] != UINT64_MAX)
				check->bad_left[kind]--;
		}
	}
	if (named)
		qsort(named, count, sizeof(*named), by_cluster);
	return count;
}

/*
 * The owners are found before anything is told, so that each problem is told whole or not at all.
 */
static int name_and_tell(struct q2_check *check, const struct q2_named *named)
{
	struct names names = {0};
	int result = -1;

	if (q2_owners_find(check, named) == 0 &&
	    q2_part_names_find(check, named, QCOW2_PART_OF_SNAPSHOT, &names.snapshots) == 0 &&
	    q2_part_names_find(check, named, QCOW2_PART_OF_BITMAP, &names.bitmaps) == 0) {
		for (size_t i = 0; i < named->count; i++)
			tell(check, &names, named->items[i]);
		result = 0;
	}
	q2_part_names_release(check, &names.snapshots);
	q2_part_names_release(check, &names.bitmaps);
	return result;
}

/* Tells the clusters in the lists that are before `until`. */
static int tell_until(struct q2_check *check, uint64_t until)
{
	struct q2_named named = {.count = gather(check, until, NULL, NULL)};
	uint64_t most = named.count * QCOW2_PROBLEM_OWNERS_MAX;
	struct q2_bad_owner *owners;
	int result = -1;

	if (named.count == 0)
		return 0;
	named.items = q2_memory_get(&check->memory, named.count, sizeof(*named.items));
	owners = q2_memory_get(&check->memory, most, sizeof(*owners));
	if (named.items && owners) {
		gather(check, until, named.items, owners);
		result = name_and_tell(check, &named);
	} else {
		q2_memory_fail(&check->memory, check->err);
	}
	q2_memory_put(&check->memory, owners, most, sizeof(*owners));
	q2_memory_put(&check->memory, named.items, named.count, sizeof(*named.items));
	return result;
}

/*
 * What the lists could not keep is found again: the refcounts from `until` on are compared once
 * more, which keeps the next clusters. So a report of any length needs the same memory.
 */
int q2_check_tell_clusters(struct q2_check *check)
{
	uint64_t until = complete_until(check);

	while (tell_until(check, until) == 0) {
		if (until == UINT64_MAX)
			return 0;
		check->bad_from = until;
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			q2_bad_list_release(&check->workers[0].bad[kind]);
		if (q2_check_refcounts(check))
			return -1;
		until = complete_until(check);
	}
	return -1;
}
