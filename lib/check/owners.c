/* SPDX-License-Identifier: MIT */
/*
 * Names the owners of clusters that are wrong, by going through all metadata once more: only if
 * there is something to name, and only for the clusters that will be told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "check/l2.h"

/* The path of a claim, as a selector would spell it. */
static void claim_path(const struct qcow2_claim *claim, char *path, size_t size)
{
	static const char *const plain[] = {
		[QCOW2_PART_HEADER] = "header",
		[QCOW2_PART_REFCOUNT_TABLE] = "refcount_table",
		[QCOW2_PART_SNAPSHOTS] = "snapshots",
		[QCOW2_PART_BITMAPS] = "bitmaps",
		[QCOW2_PART_LUKS] = "luks",
	};
	char list[64];

	switch (claim->part) {
	case QCOW2_PART_L1:
		qcow2_check_list_path(claim->list, "l1", path, size);
		break;
	case QCOW2_PART_L2:
	case QCOW2_PART_DATA:
		qcow2_check_list_path(claim->list, "l2", list, sizeof(list));
		if (claim->part == QCOW2_PART_L2)
			snprintf(path, size, "%s/%" PRIu64, list, claim->index);
		else
			snprintf(path, size, "%s/%" PRIu64 "/%" PRIu64, list, claim->index,
				 claim->entry);
		break;
	case QCOW2_PART_REFCOUNT_BLOCK:
		snprintf(path, size, "refcounts/%" PRIu64, claim->index);
		break;
	case QCOW2_PART_BITMAP_TABLE:
		snprintf(path, size, "bitmaps/%" PRIu64 "/table", claim->list);
		break;
	case QCOW2_PART_BITMAP_DATA:
		snprintf(path, size, "bitmaps/%" PRIu64 "/table/%" PRIu64, claim->list,
			 claim->index);
		break;
	default:
		snprintf(path, size, "%s", plain[claim->part]);
	}
}

/* Which snapshot or bitmap a claim is of. */
static void set_part(const struct qcow2_claim *claim, struct qcow2_owner *owner)
{
	bool listed = claim->part == QCOW2_PART_L1 || claim->part == QCOW2_PART_L2 ||
		      claim->part == QCOW2_PART_DATA;

	if (claim->part == QCOW2_PART_BITMAP_TABLE || claim->part == QCOW2_PART_BITMAP_DATA) {
		owner->part_of = QCOW2_PART_OF_BITMAP;
		owner->part_of_index = claim->list;
	} else if (listed && claim->list != QCOW2_ACTIVE) {
		owner->part_of = QCOW2_PART_OF_SNAPSHOT;
		owner->part_of_index = claim->list - 1;
	}
}

static void add_owner(const struct qcow2_check *check, struct qcow2_bad_cluster *item,
		      const struct qcow2_claim *claim)
{
	struct qcow2_owner *owner;

	item->owners_total += claim->weight;
	if (item->owner_count == QCOW2_PROBLEM_OWNERS_MAX)
		return;
	owner = &item->owners[item->owner_count++];
	claim_path(claim, owner->where, sizeof(owner->where));
	set_part(claim, owner);
	owner->has_guest = claim->has_guest;
	owner->guest_byte = claim->guest_byte;
	owner->guest_length_bytes = check->geometry->cluster_size_bytes;
}

/* The first item that is not below a cluster. */
static size_t find(const struct qcow2_check *check, uint64_t cluster)
{
	size_t low = 0, high = check->named_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (check->named[middle]->cluster < cluster)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool name_claim(struct qcow2_check *check, const struct qcow2_claim *claim)
{
	unsigned bits = check->geometry->cluster_bits;
	uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);

	if (claim->length_bytes == 0)
		return true;
	if (last < claim->offset_bytes)
		last = UINT64_MAX;
	for (size_t i = find(check, claim->offset_bytes >> bits); i < check->named_count; i++) {
		if (check->named[i]->cluster > last >> bits)
			break;
		add_owner(check, check->named[i], claim);
	}
	return true;
}

static void name_table(struct qcow2_check *check, const struct qcow2_l2_ref *ref,
		       const uint8_t *bytes, uint64_t size)
{
	const struct qcow2_geometry *geometry = check->geometry;
	struct qcow2_claim claim;

	for (uint64_t i = 0; (i + 1) * geometry->l2_entry_bytes <= size; i++) {
		uint64_t entry = qcow2_load_be64(bytes + i * geometry->l2_entry_bytes);

		if (entry == 0 || !qcow2_l2_claim(check->image, ref, entry, &claim))
			continue;
		claim.list = ref->list;
		claim.index = ref->index;
		claim.entry = i;
		claim.has_guest = true;
		claim.guest_byte = (ref->index * geometry->l2_entries + i)
				   << geometry->cluster_bits;
		name_claim(check, &claim);
	}
}

int qcow2_check_read_l2(struct qcow2_check *check, const struct qcow2_l2_ref *ref, uint64_t *size)
{
	uint64_t left = check->geometry->file_size_bytes - ref->offset_bytes;

	*size = left < check->geometry->cluster_size_bytes ? left
							   : check->geometry->cluster_size_bytes;
	return qcow2_source_read(qcow2_image_source(check->image), ref->offset_bytes,
				 check->workers[0].buffer, (size_t)*size, check->err);
}

static int name_tables(struct qcow2_check *check)
{
	for (size_t i = 0; i < check->table_count; i++) {
		uint64_t size;

		if (qcow2_check_read_l2(check, &check->tables[i], &size))
			return -1;
		name_table(check, &check->tables[i], check->workers[0].buffer, size);
		if (!qcow2_check_progress(check))
			return -1;
	}
	return 0;
}

/* By cluster, then by kind of problem: the order in which they are told. */
static int by_cluster(const void *left, const void *right)
{
	const struct qcow2_bad_cluster *a = *(struct qcow2_bad_cluster *const *)left;
	const struct qcow2_bad_cluster *b = *(struct qcow2_bad_cluster *const *)right;

	if (a->cluster != b->cluster)
		return a->cluster < b->cluster ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static void tell(struct qcow2_check *check, const struct qcow2_bad_cluster *item)
{
	size_t count;
	uint64_t per_block = check->geometry->refcount_block_entries;
	struct qcow2_problem problem = {
		.kind = &qcow2_problem_kinds(&count)[item->id],
		.offset_bytes = item->cluster << check->geometry->cluster_bits,
		.has_found = true,
		.found = item->refcount,
		.expectation = QCOW2_EXPECT_VALUE,
		.expected = item->count,
		.owner_count = item->owner_count,
		.owners_total = item->owners_total,
	};

	if (item->id == QCOW2_PROBLEM_REFCOUNT_OVERFLOW) {
		problem.expectation = QCOW2_EXPECT_AT_MOST;
		problem.found = item->count;
		problem.expected = UINT64_MAX >> (64 - check->geometry->refcount_bits);
	}
	if (item->id == QCOW2_PROBLEM_COPIED_SET || item->id == QCOW2_PROBLEM_COPIED_CLEAR ||
	    item->id == QCOW2_PROBLEM_CLUSTER_OWNERS)
		problem.expectation = QCOW2_EXPECT_NOTHING;
	for (unsigned i = 0; i < item->owner_count; i++)
		problem.owners[i] = item->owners[i];
	if (item->owner_count > 0) {
		problem.has_guest = item->owners[0].has_guest;
		problem.guest_byte = item->owners[0].guest_byte;
		problem.guest_length_bytes = item->owners[0].guest_length_bytes;
	}
	snprintf(problem.where, sizeof(problem.where), "refcounts/%" PRIu64 "/%" PRIu64,
		 item->cluster / per_block, item->cluster % per_block);
	check->options->problem(check->options->opaque, &problem);
}

static int gather(struct qcow2_check *check, struct qcow2_owner *owners)
{
	size_t at = 0;

	for (unsigned kind = 0; kind < QCOW2_BAD_KINDS; kind++) {
		struct qcow2_bad_list *list = &check->workers[0].bad[kind];

		for (size_t i = 0; i < list->count; i++) {
			list->items[i].owners = &owners[at * QCOW2_PROBLEM_OWNERS_MAX];
			check->named[at++] = &list->items[i];
		}
	}
	qsort(check->named, check->named_count, sizeof(*check->named), by_cluster);
	check->naming = true;
	check->claim = name_claim;
	if (qcow2_check_metadata(check) || !qcow2_check_claim_l2_tables(check))
		return -1;
	if (!check->geometry->data_file && name_tables(check))
		return -1;
	return qcow2_check_name_parts(check);
}

int qcow2_check_tell_clusters(struct qcow2_check *check)
{
	struct qcow2_owner *owners;
	size_t count = 0;
	int result = -1;

	for (unsigned kind = 0; kind < QCOW2_BAD_KINDS; kind++)
		count += check->workers[0].bad[kind].count;
	if (count == 0 || !check->options->problem)
		return 0;
	check->named_count = count;
	check->named = qcow2_memory_get(&check->memory, count, sizeof(*check->named));
	owners =
		qcow2_memory_get(&check->memory, count * QCOW2_PROBLEM_OWNERS_MAX, sizeof(*owners));
	if (check->named && owners)
		result = gather(check, owners);
	else
		qcow2_check_fail_memory(check, check->err);
	for (size_t i = 0; result == 0 && i < count; i++)
		tell(check, check->named[i]);
	qcow2_memory_put(&check->memory, owners, count * QCOW2_PROBLEM_OWNERS_MAX, sizeof(*owners));
	qcow2_memory_put(&check->memory, check->named, count, sizeof(*check->named));
	check->named = NULL;
	return result;
}
