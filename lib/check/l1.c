/* SPDX-License-Identifier: MIT */
/*
 * L1 tables: of the active image and of all snapshots. From their entries comes the list of
 * distinct L2 tables, each with the number of entries that lead to it, so that no L2 table is
 * looked at twice however many snapshots share it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "check/internal.h"

#define L1_SUSPECT UINT64_C(0x7f000000000001ff)

/* The L1 table that is read. */
struct reading {
	struct qcow2_check *check;
	const struct q2_l1_table *l1;
	char path[48];
};

const char *q2_check_list_path(uint64_t list, const char *what, char *path, size_t size)
{
	if (list == Q2_ACTIVE)
		snprintf(path, size, "%s", what);
	else
		snprintf(path, size, "snapshots/%" PRIu64 "/%s", list - 1, what);
	return path;
}

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
	struct qcow2_check *check = r->check;
	bool active = r->l1->list == Q2_ACTIVE;
	bool beyond = (index + 1) * check->geometry->l2_entries >
		      q2_div_ceil_u64(check->geometry->virtual_size_bytes,
				      check->geometry->cluster_size_bytes);

	if (check->table_count == check->table_capacity &&
	    !q2_memory_grow(&check->memory, (void **)&check->tables, &check->table_capacity,
			    sizeof(*check->tables)))
		return q2_check_fail_memory(check, check->err);
	check->tables[check->table_count++] = (struct q2_l2_ref){
		.offset_bytes = entry & Q2_OFFSET_MASK,
		.weight = r->l1->weight,
		.active = active,
		.list = r->l1->list,
		.index = (uint32_t)index,
		.copied = active && (entry & Q2_COPIED),
		.beyond_size = active && beyond,
	};
	return 0;
}

static int visit_entry(const struct reading *r, uint64_t offset_bytes, uint64_t entry)
{
	const struct qcow2_geometry *geometry = r->check->geometry;
	uint64_t index = r->l1->first_index + (offset_bytes - r->l1->offset_bytes) / 8;
	uint64_t offset = entry & Q2_OFFSET_MASK;

	if ((entry & L1_SUSPECT) || offset == 0 || offset % geometry->cluster_size_bytes ||
	    offset >= geometry->file_size_bytes)
		q2_rules_l1_entry(geometry,
				  &(struct q2_entry_place){.owner = r->path,
							   .index = index,
							   .offset_bytes = offset_bytes},
				  entry, &r->check->reporter);
	if (offset == 0 || offset >= geometry->file_size_bytes)
		return 0;
	return add_table(r, index, entry);
}

/* What the end of the file cuts off an entry reads as zeros. */
static int read_padded(struct qcow2_check *check, uint64_t at, uint8_t *buffer, size_t size)
{
	uint64_t left = check->geometry->file_size_bytes - at;
	size_t stored = left < size ? (size_t)left : size;

	memset(buffer + stored, 0, size - stored);
	return qcow2_source_read(qcow2_image_source(check->image), at, buffer, stored, check->err);
}

/* Reads [offset, end) of a table in pieces and skips its holes. */
static int read_table(const struct reading *r, uint64_t end)
{
	struct qcow2_source *source = qcow2_image_source(r->check->image);
	uint8_t *buffer = r->check->workers[0].buffer;
	uint64_t at = r->l1->offset_bytes;

	while (at < end) {
		uint64_t data = qcow2_source_hole_end(source, at);
		size_t size;

		if (data > at) {
			if (data >= end)
				break;
			at = q2_check_past_hole(r->l1->offset_bytes, at, data);
		}
		size = end - at < Q2_PIECE_BYTES ? (size_t)(end - at) : Q2_PIECE_BYTES;
		if (read_padded(r->check, at, buffer, size))
			return -1;
		q2_check_digest_sectors(&r->check->workers[0], at, buffer, size);
		for (size_t i = 0; i + 8 <= size; i += 8) {
			uint64_t entry = q2_load_be64(buffer + i);

			if (entry != 0 && visit_entry(r, at + i, entry))
				return -1;
		}
		at += size;
		if (!q2_check_progress(r->check))
			return -1;
	}
	return 0;
}

static int follow(struct qcow2_check *check, const struct q2_l1_table *l1)
{
	struct reading r = {.check = check, .l1 = l1};
	uint64_t size = check->geometry->file_size_bytes, stored, end;

	if (l1->offset_bytes >= size)
		return 0; /* the rules of its owner have said so */
	stored = q2_div_ceil_u64(size - l1->offset_bytes, 8);
	end = l1->offset_bytes + (stored < l1->entries ? stored : l1->entries) * 8;
	q2_check_list_path(l1->list, "l1", r.path, sizeof(r.path));
	return read_table(&r, end);
}

/*
 * Snapshots whose L1 tables are at the very same place are followed once. Where tables merely
 * overlap, which is found out when owners are compared, only what lies past the ones before is.
 */
static int follow_snapshots(struct qcow2_check *check)
{
	uint64_t end = 0;

	if (check->l1_count > 1)
		qsort(check->l1s, check->l1_count, sizeof(*check->l1s), by_place);
	for (size_t i = 0; i < check->l1_count; i++) {
		struct q2_l1_table l1 = check->l1s[i];
		uint64_t l1_end = l1.offset_bytes + l1.entries * 8;

		while (i + 1 < check->l1_count &&
		       check->l1s[i + 1].offset_bytes == l1.offset_bytes &&
		       check->l1s[i + 1].entries == l1.entries) {
			l1.weight++;
			i++;
		}
		if (l1_end < l1.offset_bytes || l1_end <= end)
			continue;
		if (l1.offset_bytes < end) {
			l1.first_index = l1.entries - (l1_end - end) / 8;
			l1.entries -= l1.first_index;
			l1.offset_bytes = l1_end - l1.entries * 8;
		}
		end = l1_end;
		if (follow(check, &l1))
			return -1;
	}
	return 0;
}

/* Sorts the entries by the tables they lead to, and makes one of those that lead to one. */
static void unite(struct qcow2_check *check)
{
	struct q2_l2_ref *tables = check->tables;
	bool sorted = true;
	size_t kept = 0;

	for (size_t i = 1; i < check->table_count && sorted; i++)
		sorted = by_offset(&tables[i - 1], &tables[i]) <= 0;
	if (!sorted)
		qsort(tables, check->table_count, sizeof(*tables), by_offset);
	for (size_t i = 1; i < check->table_count; i++) {
		if (tables[i].offset_bytes != tables[kept].offset_bytes) {
			tables[++kept] = tables[i];
			continue;
		}
		tables[kept].weight += tables[i].weight;
		tables[kept].active += tables[i].active;
		tables[kept].copied |= tables[i].copied;
		tables[kept].beyond_size |= tables[i].beyond_size;
	}
	if (check->table_count > 0)
		check->table_count = kept + 1;
}

int q2_check_l1_tables(struct qcow2_check *check)
{
	struct q2_l1_table active = {.offset_bytes = check->header->l1_table_offset,
				     .entries = check->header->l1_size,
				     .list = Q2_ACTIVE,
				     .weight = 1};

	if (follow(check, &active) || follow_snapshots(check))
		return -1;
	unite(check);
	return 0;
}
