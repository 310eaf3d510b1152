/* SPDX-License-Identifier: MIT */
/*
 * Who leads to each L2 table. The walk unites the entries of all L1 tables that lead to one L2 table,
 * so this reads the L1 tables once more.
 */
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "usage/usage.h"

/* What may be read of L1 tables that overlap, for each byte that the file stores. */
#define LIMIT_FACTOR 16
#define LIMIT_SLACK  (UINT64_C(64) << 20)

struct search {
	struct qcow2_usage *usage;
	const struct q2_l1_table *l1; /* that is read */
	uint64_t machine_index;       /* where the saved state of the machine begins in it */
	uint32_t set, machine_set;    /* who its entries are of, before that and from there on */
	size_t table;                 /* the number of the L2 table that an entry led to last */
	uint64_t left_bytes;
};

/* The number of the L2 table at an offset, or of the first one behind it. */
static size_t find_table(const struct search *search, uint64_t offset_bytes)
{
	const struct q2_metadata *metadata = &search->usage->metadata;

	/* Tables of an image that was written in order follow each other. */
	if (search->table + 1 < metadata->table_count &&
	    metadata->tables[search->table + 1].offset_bytes == offset_bytes)
		return search->table + 1;
	return q2_metadata_find_table(metadata, offset_bytes);
}

static int hear_entry(void *opaque, uint64_t at, uint64_t entry)
{
	struct search *search = opaque;
	struct qcow2_usage *usage = search->usage;
	const uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	const uint64_t index = (at - search->l1->offset_bytes) / sizeof(uint64_t);
	uint32_t *set;

	if (offset == 0 || offset >= usage->geometry->file_size_bytes)
		return 0;
	search->table = find_table(search, offset);
	/* Where L1 tables overlap, the walk has not followed all of their entries. */
	if (search->table == usage->metadata.table_count ||
	    usage->metadata.tables[search->table].offset_bytes != offset)
		return 0;
	set = &usage->table_sets[search->table];
	*set = q2_sets_union(&usage->states.sets, *set,
			     index < search->machine_index ? search->set : search->machine_set);
	return *set == Q2_NO_NUMBER ? q2_memory_fail(&usage->memory, usage->metadata.err) : 0;
}

static int charge(void *opaque, uint64_t at, const uint8_t *bytes, size_t size)
{
	struct search *search = opaque;

	(void)bytes;
	if (size > search->left_bytes)
		return q2_fail(search->usage->metadata.err, QCOW2_ERROR_LIMIT, at,
			       "too many snapshots have their L1 tables at the same places to "
			       "tell what each of them uses; qcow2 check names them");
	search->left_bytes -= size;
	return 0;
}

/* Chooses who the entries of an L1 table are of. */
static int begin(struct search *search, const struct q2_l1_table *l1)
{
	const struct qcow2_geometry *geometry = search->usage->geometry;
	struct q2_sets *sets = &search->usage->states.sets;
	const struct q2_disk disk = q2_metadata_disk(&search->usage->metadata, l1->list);

	search->l1 = l1;
	search->machine_index = UINT64_MAX;
	if (l1->list == Q2_ACTIVE) {
		search->set = q2_sets_single(sets, Q2_USER_ACTIVE);
	} else {
		const uint32_t snapshot = l1->list - 1;

		search->set = q2_sets_single(sets, Q2_USER_SNAPSHOT + snapshot);
		search->machine_set = q2_sets_union(
			sets, search->set, q2_sets_single(sets, Q2_USER_MACHINE + snapshot));
		search->machine_index = q2_div_ceil_u64(
			q2_div_ceil_u64(disk.size_bytes, geometry->cluster_size_bytes),
			geometry->l2_entries);
	}
	if (search->set == Q2_NO_NUMBER || search->machine_set == Q2_NO_NUMBER)
		return q2_memory_fail(&search->usage->memory, search->usage->metadata.err);
	return 0;
}

static int read_l1(struct search *search, const struct q2_l1_table *l1)
{
	struct qcow2_usage *usage = search->usage;
	const struct q2_listener listener = {.opaque = search, .table_bytes = charge};
	const uint64_t size = usage->geometry->file_size_bytes;
	uint64_t stored;

	if (l1->offset_bytes >= size)
		return 0;
	if (begin(search, l1))
		return -1;
	stored = q2_div_ceil_u64(size - l1->offset_bytes, sizeof(uint64_t));
	return q2_metadata_read_words(
		&usage->metadata, &listener,
		&(struct q2_words){.start = l1->offset_bytes,
				   .end = l1->offset_bytes +
					  (stored < l1->entries ? stored : l1->entries) * 8,
				   .word = hear_entry,
				   .opaque = search});
}

static int by_list(const void *left, const void *right)
{
	const struct q2_l1_table *a = left, *b = right;

	return a->list < b->list ? -1 : a->list > b->list;
}

/*
 * Reads all L1 tables, in the order of the snapshots: what was shared since some snapshot then grows
 * by one user after the other, and sets stay short lists of spans.
 */
static int read_all(struct search *search)
{
	struct q2_metadata *metadata = &search->usage->metadata;
	const struct q2_l1_table active = {.offset_bytes = metadata->header->l1_table_offset,
					   .entries = metadata->header->l1_size,
					   .list = Q2_ACTIVE};

	if (metadata->l1_count > 1)
		qsort(metadata->l1s, metadata->l1_count, sizeof(*metadata->l1s), by_list);
	if (read_l1(search, &active))
		return -1;
	for (size_t i = 0; i < metadata->l1_count; i++)
		if (read_l1(search, &metadata->l1s[i]) || q2_usage_progress(search->usage))
			return -1;
	return 0;
}

/* Snapshots are not told apart: the weights say who leads to a table. */
static int find_classes(struct qcow2_usage *usage)
{
	struct q2_sets *sets = &usage->states.sets;
	const uint32_t active = q2_sets_single(sets, Q2_USER_ACTIVE);
	const uint32_t snapshots = q2_sets_single(sets, Q2_USER_SNAPSHOT);
	const uint32_t both = q2_sets_union(sets, active, snapshots);

	if (both == Q2_NO_NUMBER)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	for (size_t i = 0; i < usage->metadata.table_count; i++) {
		const struct q2_l2_ref *ref = &usage->metadata.tables[i];

		usage->table_sets[i] = ref->active == 0             ? snapshots
				       : ref->weight == ref->active ? active
								    : both;
	}
	return 0;
}

int q2_usage_find_sharers(struct qcow2_usage *usage)
{
	const uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(usage->image));
	struct search search = {
		.usage = usage,
		.left_bytes = stored > (UINT64_MAX - LIMIT_SLACK) / LIMIT_FACTOR
				      ? UINT64_MAX
				      : stored * LIMIT_FACTOR + LIMIT_SLACK,
	};

	usage->table_sets = q2_memory_get(&usage->memory, usage->metadata.table_count,
					  sizeof(*usage->table_sets));
	if (!usage->table_sets)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	return usage->options.users ? read_all(&search) : find_classes(usage);
}
