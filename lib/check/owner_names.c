/* SPDX-License-Identifier: MIT */
/* Gives owners the names of the snapshots and bitmaps that they are parts of. */
#include <stdlib.h>

#include <qcow2/text.h>

#include "base/error.h"
#include "check/internal.h"

/* The owners of one kind, in the order of what they belong to. */
struct owners {
	struct qcow2_owner **items;
	size_t count, next;
};

static int by_index(const void *left, const void *right)
{
	const struct qcow2_owner *a = *(struct qcow2_owner *const *)left;
	const struct qcow2_owner *b = *(struct qcow2_owner *const *)right;

	return a->part_of_index < b->part_of_index ? -1 : a->part_of_index > b->part_of_index;
}

/* Counts, or if there are items gathers, the owners that are parts of such a thing. */
static void gather(const struct qcow2_check *check, enum qcow2_part_of kind, struct owners *owners)
{
	owners->count = 0;
	for (size_t i = 0; i < check->named_count; i++) {
		struct qcow2_bad_cluster *item = check->named[i];

		for (unsigned j = 0; j < item->owner_count; j++) {
			if (item->owners[j].part_of != kind)
				continue;
			if (owners->items)
				owners->items[owners->count] = &item->owners[j];
			owners->count++;
		}
	}
	if (owners->items)
		qsort(owners->items, owners->count, sizeof(struct qcow2_owner *), by_index);
}

/* One snapshot or bitmap; they come in the order of their indexes. */
static void name_one(struct owners *owners, uint64_t index, struct qcow2_bytes name)
{
	while (owners->next < owners->count && owners->items[owners->next]->part_of_index < index)
		owners->next++;
	for (; owners->next < owners->count && owners->items[owners->next]->part_of_index == index;
	     owners->next++) {
		struct qcow2_owner *owner = owners->items[owners->next];

		qcow2_text_escape(name, owner->part_of_name, sizeof(owner->part_of_name));
	}
}

static int name_snapshots(struct qcow2_check *check, struct owners *owners)
{
	struct qcow2_snapshots *snapshots;
	struct qcow2_snapshot snapshot;
	int more = 0;

	if (qcow2_snapshots_open(check->image, &snapshots, check->err))
		return check->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while (owners->next < owners->count &&
	       (more = qcow2_snapshots_next(snapshots, &snapshot, check->err)) > 0)
		name_one(owners, snapshot.index, snapshot.name);
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : 0;
}

static int name_bitmaps(struct qcow2_check *check, struct owners *owners)
{
	struct qcow2_bitmaps *bitmaps;
	struct qcow2_bitmap bitmap;
	int more = 0;

	if (qcow2_bitmaps_open(check->image, &bitmaps, check->err))
		return check->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while (owners->next < owners->count &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, check->err)) > 0)
		name_one(owners, bitmap.index, bitmap.name);
	qcow2_bitmaps_close(bitmaps);
	return more < 0 ? -1 : 0;
}

static int name_kind(struct qcow2_check *check, enum qcow2_part_of kind)
{
	struct owners owners = {0};
	size_t count;
	int result;

	gather(check, kind, &owners);
	count = owners.count;
	if (count == 0)
		return 0;
	owners.items = qcow2_memory_get(&check->memory, count, sizeof(struct qcow2_owner *));
	if (!owners.items)
		return qcow2_check_fail_memory(check, check->err);
	gather(check, kind, &owners);
	result = kind == QCOW2_PART_OF_SNAPSHOT ? name_snapshots(check, &owners)
						: name_bitmaps(check, &owners);
	qcow2_memory_put(&check->memory, owners.items, count, sizeof(struct qcow2_owner *));
	return result;
}

int qcow2_check_name_parts(struct qcow2_check *check)
{
	return name_kind(check, QCOW2_PART_OF_SNAPSHOT) || name_kind(check, QCOW2_PART_OF_BITMAP)
		       ? -1
		       : 0;
}
