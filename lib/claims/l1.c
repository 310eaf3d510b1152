/* SPDX-License-Identifier: MIT */
/*
 * L1 tables: of the active image and of all snapshots. From their entries comes the list of
 * distinct L2 tables, each with the number of entries that lead to it, so that no L2 table is
 * read twice however many snapshots share it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "claims/metadata.h"

/* Bytes of L2 tables that may be in another one as well, beyond what the file stores. */
#define OVERLAP_SLACK_BYTES (UINT64_C(64) << 20)

/* The L1 table that is read. */
struct reading {
	struct q2_metadata *metadata;
	const struct q2_listener *listener;
	const struct q2_l1_table *l1;
	struct q2_disk disk;
	char path[48];
};

static int by_offset(const void *left, const void *right)
{
	const struct q2_l2_ref *a = left, *b = right;

	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	if (a->list != b->list)
		return a->list < b->list ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int by_place(const void *left, const void *right)
{
	const struct q2_l1_table *a = left, *b = right;

	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	if (a->entries != b->entries)
		return a->entries > b->entries ? -1 : 1;
	return a->list < b->list ? -1 : a->list > b->list;
}

/* An entry that leads to an L2 table. */
static int add_table(const struct reading *r, uint64_t index, uint64_t entry)
{
	struct q2_metadata *metadata = r->metadata;
	const struct qcow2_geometry *geometry = metadata->geometry;
	bool active = r->l1->list == Q2_ACTIVE;
	bool beyond = (index + 1) * geometry->l2_entries >
		      q2_div_ceil_u64(geometry->virtual_size_bytes, geometry->cluster_size_bytes);

	if (metadata->table_count == metadata->table_capacity &&
	    !q2_memory_grow(metadata->memory, (void **)&metadata->tables, &metadata->table_capacity,
			    sizeof(*metadata->tables)))
		return q2_memory_fail(metadata->memory, metadata->err);
	metadata->tables[metadata->table_count++] = (struct q2_l2_ref){
		.offset_bytes = entry & QCOW2_ENTRY_MASK(l1_entry, offset),
		.weight = r->l1->weight,
		.active = active,
		.list = r->l1->list,
		.index = (uint32_t)index,
		.copied = active && (entry & QCOW2_ENTRY_MASK(l1_entry, copied)),
		.beyond_size = active && beyond,
	};
	return 0;
}

static int visit_entry(void *opaque, uint64_t at, uint64_t entry)
{
	const struct reading *r = opaque;
	const struct q2_listener *listener = r->listener;
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
	const struct q2_entry_place place = {
		.owner = r->path,
		.index = r->l1->first_index + (at - r->l1->offset_bytes) / 8,
		.offset_bytes = at,
		.disk = &r->disk,
	};

	if (listener->l1_entry && listener->l1_entry(listener->opaque, &place, entry))
		return -1;
	if (offset == 0 || offset >= r->metadata->geometry->file_size_bytes)
		return 0;
	return add_table(r, place.index, entry);
}

static int follow(struct q2_metadata *metadata, const struct q2_listener *listener,
		  const struct q2_l1_table *l1)
{
	struct reading r = {.metadata = metadata,
			    .listener = listener,
			    .l1 = l1,
			    .disk = q2_metadata_disk(metadata, l1->list)};
	uint64_t size = metadata->geometry->file_size_bytes, stored;

	if (l1->offset_bytes >= size)
		return 0; /* the rules of its owner say so */
	stored = q2_div_ceil_u64(size - l1->offset_bytes, 8);
	if (l1->list == Q2_ACTIVE)
		snprintf(r.path, sizeof(r.path), "l1");
	else
		snprintf(r.path, sizeof(r.path), "snapshots/%" PRIu32 "/l1", l1->list - 1);
	return q2_metadata_read_words(
		metadata, listener,
		&(struct q2_words){.start = l1->offset_bytes,
				   .end = l1->offset_bytes +
					  (stored < l1->entries ? stored : l1->entries) * 8,
				   .word = visit_entry,
				   .opaque = &r});
}

/*
 * Snapshots whose L1 tables are at the very same place are followed once. Where tables merely
 * overlap, only what lies past the ones before is followed, so that a word of the file is read once
 * however many tables claim it; that the owners contradict each other, the claims tell. A table that
 * starts between two words of another one has other entries: it hides none of them.
 */
static int follow_snapshots(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	struct q2_l1_table *l1s = metadata->l1s;
	uint64_t ends[sizeof(uint64_t)] = {0};

	if (metadata->l1_count > 1)
		qsort(l1s, metadata->l1_count, sizeof(*l1s), by_place);
	for (size_t i = 0; i < metadata->l1_count; i++) {
		struct q2_l1_table l1 = l1s[i];
		uint64_t l1_end = l1.offset_bytes + l1.entries * 8;
		uint64_t *end = &ends[l1.offset_bytes % sizeof(uint64_t)];

		while (i + 1 < metadata->l1_count && l1s[i + 1].offset_bytes == l1.offset_bytes &&
		       l1s[i + 1].entries == l1.entries) {
			l1.weight++;
			i++;
		}
		if (l1_end < l1.offset_bytes || l1_end <= *end)
			continue;
		if (l1.offset_bytes < *end) {
			l1.first_index = l1.entries - (l1_end - *end) / 8;
			l1.entries -= l1.first_index;
			l1.offset_bytes = l1_end - l1.entries * 8;
		}
		*end = l1_end;
		if (follow(metadata, listener, &l1))
			return -1;
	}
	return 0;
}

/* Sorts the entries by the tables they lead to, and makes one of those that lead to one. */
static void unite(struct q2_metadata *metadata)
{
	struct q2_l2_ref *tables = metadata->tables;
	bool sorted = true;
	size_t kept = 0;

	for (size_t i = 1; i < metadata->table_count && sorted; i++)
		sorted = by_offset(&tables[i - 1], &tables[i]) <= 0;
	if (!sorted)
		qsort(tables, metadata->table_count, sizeof(*tables), by_offset);
	for (size_t i = 1; i < metadata->table_count; i++) {
		if (tables[i].offset_bytes != tables[kept].offset_bytes) {
			tables[++kept] = tables[i];
			continue;
		}
		tables[kept].weight += tables[i].weight;
		tables[kept].active += tables[i].active;
		tables[kept].copied |= tables[i].copied;
		tables[kept].beyond_size |= tables[i].beyond_size;
	}
	if (metadata->table_count > 0)
		metadata->table_count = kept + 1;
}

/*
 * Leaves out tables that overlap the one before, once they have had their share. Only broken images
 * have such tables; in a hostile one each byte could be in 4,096 of them. Returns whether any is
 * left out.
 */
static bool leave_out_overlaps(struct q2_metadata *metadata)
{
	const uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(metadata->image));
	const uint64_t cluster = metadata->geometry->cluster_size_bytes;
	struct q2_l2_ref *tables = metadata->tables;
	uint64_t left = stored > UINT64_MAX - OVERLAP_SLACK_BYTES ? UINT64_MAX
								  : stored + OVERLAP_SLACK_BYTES;
	size_t kept = 0;

	for (size_t i = 1; i < metadata->table_count; i++) {
		const uint64_t apart = tables[i].offset_bytes - tables[kept].offset_bytes;
		const uint64_t twice = apart < cluster ? cluster - apart : 0;

		if (twice > left)
			continue;
		left -= twice;
		tables[++kept] = tables[i];
	}
	if (metadata->table_count <= kept + 1)
		return false;
	metadata->table_count = kept + 1;
	return true;
}

int q2_metadata_follow_l1(struct q2_metadata *metadata, const struct q2_listener *listener)
{
	struct q2_l1_table active = {.offset_bytes = metadata->header->l1_table_offset,
				     .entries = metadata->header->l1_size,
				     .list = Q2_ACTIVE,
				     .weight = 1};

	if (follow(metadata, listener, &active) || follow_snapshots(metadata, listener))
		return -1;
	unite(metadata);
	if (leave_out_overlaps(metadata) && listener->cut)
		listener->cut(listener->opaque);
	metadata->followed = true;
	return 0;
}
