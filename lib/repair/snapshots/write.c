/* SPDX-License-Identifier: MIT */
/*
 * Writes the snapshot table. Where all entries keep their places, only what changed is written.
 * Else the whole table is written in free space, and the header points to it: number and offset are
 * side by side, and change in one write.
 */
#include "repair/snapshots/snapshots.h"

#include <string.h>

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"

#define COUNT_AT  offsetof(struct qcow2_header, nb_snapshots)
#define OFFSET_AT offsetof(struct qcow2_header, snapshot_offset)

uint64_t q2_snapshot_stored_bytes(const struct q2_snapshot_entry *entry)
{
	uint64_t size = Q2_SNAPSHOT_BYTES + entry->extra.size + entry->id.size + entry->name.size;

	return (size + 7) & ~UINT64_C(7);
}

/* Writes an entry at `raw`, which has room for it; the padding is zeros. */
static void store_entry(const struct q2_snapshot_entry *entry, uint8_t *raw)
{
	struct qcow2_snapshot_header header = entry->header;
	uint64_t at = Q2_SNAPSHOT_BYTES;

	header.extra_data_size = (uint32_t)entry->extra.size;
	header.id_str_size = (uint16_t)entry->id.size;
	header.name_size = (uint16_t)entry->name.size;
	memset(raw, 0, (size_t)q2_snapshot_stored_bytes(entry));
	qcow2_snapshot_header_encode(&header, raw, Q2_SNAPSHOT_BYTES);
	if (entry->extra.size > 0)
		memcpy(raw + at, entry->extra.data, entry->extra.size);
	at += entry->extra.size;
	if (entry->id.size > 0)
		memcpy(raw + at, entry->id.data, entry->id.size);
	at += entry->id.size;
	if (entry->name.size > 0)
		memcpy(raw + at, entry->name.data, entry->name.size);
}

/* Whether all entries are where they were, and none is missing. */
static bool stays(const struct q2_repair *repair, const struct q2_snapshot_table *table)
{
	uint64_t at = 0;

	if (table->is_reformed || table->count != repair->header->nb_snapshots ||
	    table->offset_bytes != repair->header->snapshot_offset ||
	    table->offset_bytes % repair->geometry->cluster_size_bytes != 0)
		return false;
	for (size_t i = 0; i < table->count; i++) {
		const struct q2_snapshot_entry *entry = &table->entries[i];

		if (entry->dropped || entry->refitted || entry->at != at ||
		    q2_snapshot_stored_bytes(entry) != entry->size_bytes)
			return false;
		at += entry->size_bytes;
	}
	return true;
}

/* Writes what changed of each entry; the bytes of its padding stay. */
static int store_in_place(struct q2_repair *repair, const struct q2_snapshot_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct q2_snapshot_entry *entry = &table->entries[i];
		size_t size = (size_t)(Q2_SNAPSHOT_BYTES + entry->extra.size + entry->id.size +
				       entry->name.size);
		uint8_t *raw = q2_alloc_buffer((size_t)entry->size_bytes);
		int failed;

		if (!raw)
			return q2_fail_memory(repair->err);
		store_entry(entry, raw);
		failed = memcmp(raw, table->bytes + entry->at, size) != 0 &&
			 q2_repair_write(repair, QCOW2_PHASE_POINT, table->offset_bytes + entry->at,
					 (struct qcow2_bytes){raw, size}, "a snapshot, mended");
		q2_free(raw);
		if (failed)
			return -1;
	}
	return 0;
}

/* Points the header to a table. */
static int point(struct q2_repair *repair, uint64_t count, uint64_t offset_bytes)
{
	uint8_t raw[12];

	q2_store_be32(raw, (uint32_t)count);
	q2_store_be64(raw + (OFFSET_AT - COUNT_AT), offset_bytes);
	return q2_repair_write(
		repair, QCOW2_PHASE_POINT, COUNT_AT, (struct qcow2_bytes){raw, sizeof(raw)},
		count ? "where the new snapshot table is" : "there are no snapshots");
}

static int store_anew(struct q2_repair *repair, const struct q2_snapshot_table *table)
{
	uint64_t cluster = repair->geometry->cluster_size_bytes, size = 0, count = 0, offset,
		 at = 0;
	uint8_t *raw;
	int failed;

	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i].dropped)
			continue;
		size += q2_snapshot_stored_bytes(&table->entries[i]);
		count++;
	}
	if (count == 0)
		return point(repair, 0, 0);
	size = q2_div_ceil_u64(size, cluster) * cluster;
	if (q2_space_take(repair, size / cluster, &offset))
		return -1;
	raw = q2_alloc_array((size_t)size, 1);
	if (!raw)
		return q2_fail_memory(repair->err);
	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i].dropped)
			continue;
		store_entry(&table->entries[i], raw + at);
		at += q2_snapshot_stored_bytes(&table->entries[i]);
	}
	failed = q2_repair_write(repair, QCOW2_PHASE_NEW, offset,
				 (struct qcow2_bytes){raw, (size_t)size},
				 "the new snapshot table") ||
		 point(repair, count, offset);
	q2_free(raw);
	return failed ? -1 : 0;
}

int q2_snapshot_table_store(struct q2_repair *repair, struct q2_snapshot_table *table)
{
	return stays(repair, table) ? store_in_place(repair, table) : store_anew(repair, table);
}
