/* SPDX-License-Identifier: MIT */
/*
 * The walk tells an L2 table once, with the number of L1 entries that lead to it. This finds those
 * entries, by reading the L1 tables once more.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/search.h"
#include "locate/owners.h"

/* What may be read of L1 tables that overlap, for each byte that the file stores. */
#define LIMIT_FACTOR 16
#define LIMIT_SLACK  (UINT64_C(64) << 20)

struct search {
	struct q2_owners *owners;
	struct q2_name_set wanted;     /* offsets of L2 tables */
	const struct q2_l1_table *l1s; /* that are at the place of the one that is read, */
	size_t l1_count;               /* the active one alone or some of snapshots */
	uint64_t left_bytes;
	bool full; /* no more can be kept or read; what is left out is counted by weights */
};

/*
 * Whether L1 tables of snapshots overlap without being the same. Then the walk counts common entries
 * once, so that weights do not say which tables are shared. The walk has sorted the tables by place.
 */
static bool tables_overlap(const struct q2_metadata *metadata)
{
	uint64_t end = 0;

	for (size_t i = 0; i < metadata->l1_count; i++) {
		const struct q2_l1_table *l1 = &metadata->l1s[i];

		if (l1->offset_bytes < end &&
		    (l1->offset_bytes != l1[-1].offset_bytes || l1->entries != l1[-1].entries))
			return true;
		if (l1->offset_bytes + l1->entries * 8 > end)
			end = l1->offset_bytes + l1->entries * 8;
	}
	return false;
}

/* Gathers the tables that several L1 entries lead to. */
static int find_wanted(struct search *search)
{
	const struct q2_owners *owners = search->owners;
	const bool all = tables_overlap(&owners->metadata);

	for (size_t i = 0; i < owners->kept_count; i++) {
		const struct q2_kept *kept = &owners->kept[i];
		uint64_t earlier;

		if ((all || kept->claim.weight > 1) && kept->l2_table != 0 &&
		    q2_name_set_insert(&search->wanted, kept->l2_table, 0, &earlier) ==
			    QCOW2_ERROR_MEMORY)
			return q2_fail_memory(owners->metadata.err);
	}
	return 0;
}

/* An L1 entry that leads to a table that is wanted: each L1 table at this place has it. */
static int add(struct search *search, uint64_t l2_table, uint64_t index)
{
	struct q2_owners *owners = search->owners;

	for (size_t i = 0; i < search->l1_count; i++) {
		if (owners->sharer_count >= Q2_OWNERS_KEPT) {
			search->full = true;
			return -1;
		}
		if (owners->sharer_count == owners->sharer_capacity &&
		    !q2_memory_grow(&owners->memory, (void **)&owners->sharers,
				    &owners->sharer_capacity, sizeof(*owners->sharers)))
			return q2_memory_fail(&owners->memory, owners->metadata.err);
		owners->sharers[owners->sharer_count++] =
			(struct q2_sharer){l2_table, search->l1s[i].list, (uint32_t)index};
	}
	return 0;
}

static int hear_entry(void *opaque, uint64_t at, uint64_t entry)
{
	struct search *search = opaque;
	const uint64_t l2_table = entry & QCOW2_ENTRY_MASK(l1_entry, offset);

	if (l2_table == 0 || q2_name_set_find(&search->wanted, l2_table) == Q2_NAME_SET_NEW)
		return 0;
	return add(search, l2_table, (at - search->l1s[0].offset_bytes) / sizeof(uint64_t));
}

static int charge(void *opaque, uint64_t at, const uint8_t *bytes, size_t size)
{
	struct search *search = opaque;

	(void)at;
	(void)bytes;
	search->full = size > search->left_bytes;
	search->left_bytes -= search->full ? 0 : size;
	return search->full ? -1 : 0;
}

/* Reads the L1 table at search->l1s. */
static int read_l1(struct search *search)
{
	struct q2_metadata *metadata = &search->owners->metadata;
	const struct q2_l1_table *l1 = search->l1s;
	const struct q2_listener listener = {.opaque = search, .table_bytes = charge};
	const uint64_t size = metadata->geometry->file_size_bytes;
	uint64_t stored;

	if (l1->offset_bytes >= size)
		return 0;
	stored = (size - l1->offset_bytes) / 8 + ((size - l1->offset_bytes) % 8 != 0);
	return q2_metadata_read_words(
		metadata, &listener,
		&(struct q2_words){.start = l1->offset_bytes,
				   .end = l1->offset_bytes +
					  (stored < l1->entries ? stored : l1->entries) * 8,
				   .word = hear_entry,
				   .opaque = search});
}

/* Reads all L1 tables, those at one place once. The walk has sorted them by their places. */
static int read_all(struct search *search)
{
	const struct q2_metadata *metadata = &search->owners->metadata;
	const struct q2_l1_table active = {.offset_bytes = metadata->header->l1_table_offset,
					   .entries = metadata->header->l1_size,
					   .list = Q2_ACTIVE};

	search->l1s = &active;
	search->l1_count = 1;
	if (read_l1(search))
		return -1;
	for (size_t i = 0; i < metadata->l1_count; i += search->l1_count) {
		const struct q2_l1_table *l1s = &metadata->l1s[i];
		size_t count = 1;

		while (i + count < metadata->l1_count &&
		       l1s[count].offset_bytes == l1s[0].offset_bytes &&
		       l1s[count].entries == l1s[0].entries)
			count++;
		search->l1s = l1s;
		search->l1_count = count;
		if (read_l1(search))
			return -1;
	}
	return 0;
}

static int by_table(const void *left, const void *right)
{
	const struct q2_sharer *a = left, *b = right;

	if (a->l2_table != b->l2_table)
		return a->l2_table < b->l2_table ? -1 : 1;
	if (a->list != b->list)
		return a->list < b->list ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

int q2_owners_find_sharers(struct q2_owners *owners)
{
	const uint64_t stored =
		qcow2_source_allocated_bytes(qcow2_image_source(owners->metadata.image));
	struct search search = {.owners = owners,
				.left_bytes = stored > (UINT64_MAX - LIMIT_SLACK) / LIMIT_FACTOR
						      ? UINT64_MAX
						      : stored * LIMIT_FACTOR + LIMIT_SLACK};
	int result;

	q2_name_set_init(&search.wanted, owners->kept_count + 1);
	result = find_wanted(&search);
	if (result == 0 && search.wanted.count > 0)
		result = read_all(&search);
	q2_name_set_release(&search.wanted);
	if (result && !search.full)
		return -1;
	if (owners->sharer_count > 1)
		qsort(owners->sharers, owners->sharer_count, sizeof(*owners->sharers), by_table);
	return 0;
}

/* The first sharer of a table, or of the first one behind it. */
static size_t lower(const struct q2_owners *owners, uint64_t l2_table)
{
	return q2_rising_lower(
		Q2_RISING(owners->sharers, owners->sharer_count, struct q2_sharer, l2_table),
		l2_table);
}

size_t q2_owners_sharers(const struct q2_owners *owners, uint64_t l2_table, size_t *first)
{
	*first = lower(owners, l2_table);
	return lower(owners, l2_table + 1) - *first;
}
