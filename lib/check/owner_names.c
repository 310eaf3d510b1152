/* SPDX-License-Identifier: MIT */
/* See owner_names.h. */
#include "check/owner_names.h"

#include "base/error.h"
#include "base/search.h"
#include "base/utf8.h"

#include <stdlib.h>

/* The distinct indexes to find, which rise, and the names that were found. */
struct search {
	uint64_t *wanted;
	size_t wanted_count, next;
	struct q2_part_names *names;
};

static int by_number(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* Counts, or if there is a list gathers, what the owners are parts of. */
static size_t gather(const struct q2_named *named, enum qcow2_part_of kind, uint64_t *wanted)
{
	size_t count = 0;

	for (size_t i = 0; i < named->count; i++) {
		const struct q2_bad_cluster *item = named->items[i];

		for (unsigned j = 0; j < item->owner_count; j++) {
			if (item->owners[j].part_of != kind)
				continue;
			if (wanted)
				wanted[count] = item->owners[j].part_of_index;
			count++;
		}
	}
	return count;
}

static size_t drop_repeated(uint64_t *wanted, size_t count)
{
	size_t kept = 0;

	qsort(wanted, count, sizeof(*wanted), by_number);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || wanted[kept - 1] != wanted[i])
			wanted[kept++] = wanted[i];
	return kept;
}

/*
 * Takes the name of a snapshot or bitmap if it is wanted. They come in the order of their indexes.
 */
static void hear(struct search *search, uint64_t index, struct qcow2_bytes text)
{
	struct q2_part_name *name;

	while (search->next < search->wanted_count && search->wanted[search->next] < index)
		search->next++;
	if (search->next == search->wanted_count || search->wanted[search->next] != index)
		return;
	name = &search->names->items[search->names->count++];
	name->index = index;
	q2_text_escape_start(text, name->text, sizeof(name->text));
	search->next++;
}

static int find_snapshots(struct q2_check *check, struct search *search)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	int more = 0;

	if (qcow2_snapshots_open(check->image, &snapshots, check->err))
		return q2_is_fault(check->err) ? -1 : 0;
	while (search->next < search->wanted_count &&
	       (more = qcow2_snapshots_next(snapshots, &snapshot, check->err)) > 0)
		hear(search, snapshot->index, snapshot->name);
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : 0;
}

static int find_bitmaps(struct q2_check *check, struct search *search)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	int more = 0;

	if (qcow2_bitmaps_open(check->image, &bitmaps, check->err))
		return q2_is_fault(check->err) ? -1 : 0;
	while (search->next < search->wanted_count &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, check->err)) > 0)
		hear(search, bitmap->index, bitmap->name);
	qcow2_bitmaps_close(bitmaps);
	return more < 0 ? -1 : 0;
}

int q2_part_names_find(struct q2_check *check, const struct q2_named *named,
		       enum qcow2_part_of kind, struct q2_part_names *names)
{
	size_t count = gather(named, kind, NULL);
	struct search search = {.names = names};
	int result;

	if (count == 0)
		return 0;
	search.wanted = q2_memory_get(&check->memory, count, sizeof(*search.wanted));
	if (!search.wanted)
		return q2_memory_fail(&check->memory, check->err);
	gather(named, kind, search.wanted);
	search.wanted_count = drop_repeated(search.wanted, count);
	names->capacity = search.wanted_count;
	names->items = q2_memory_get(&check->memory, names->capacity, sizeof(*names->items));
	if (!names->items)
		result = q2_memory_fail(&check->memory, check->err);
	else if (kind == QCOW2_PART_OF_SNAPSHOT)
		result = find_snapshots(check, &search);
	else
		result = find_bitmaps(check, &search);
	q2_memory_put(&check->memory, search.wanted, count, sizeof(*search.wanted));
	return result;
}

const char *q2_part_names_get(const struct q2_part_names *names, uint64_t index)
{
	const struct q2_part_name *name = q2_rising_find(
		Q2_RISING(names->items, names->count, struct q2_part_name, index), index);

	return name ? name->text : "";
}

void q2_part_names_release(struct q2_check *check, struct q2_part_names *names)
{
	q2_memory_put(&check->memory, names->items, names->capacity, sizeof(*names->items));
	*names = (struct q2_part_names){0};
}
