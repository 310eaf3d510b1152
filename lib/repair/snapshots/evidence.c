/* SPDX-License-Identifier: MIT */
/* See evidence.h. */
#include "repair/snapshots/evidence.h"

#include <stdlib.h>

#include <qcow2/claims.h>
#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/internal.h"
#include "rules/rules.h"

/* Who claims the clusters [start, end). */
struct asked {
	uint64_t start, end;
	uint64_t index; /* of the snapshot whose own claim does not count */
	bool is_used;
};

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct asked *asked = opaque;
	bool own = claim->part == QCOW2_CLAIM_L1_TABLE &&
		   claim->part_of == QCOW2_PART_OF_SNAPSHOT && claim->part_of_index == asked->index;

	/* A claim of 0 bytes, or one that wraps around, touches nothing here. */
	if (!own && claim->offset_bytes < asked->end &&
	    (claim->offset_bytes >= asked->start ||
	     claim->length_bytes > asked->start - claim->offset_bytes))
		asked->is_used |= claim->length_bytes > 0;
	return asked->is_used;
}

static int is_used(struct q2_repair *repair, struct asked *asked)
{
	const struct qcow2_claims_options how = {
		.size = sizeof(how), .memory_limit_bytes = repair->options->memory_limit_bytes};
	struct qcow2_error err;

	if (qcow2_claims_walk(repair->image, &how, hear_claim, asked, &err) == 0 ||
	    err.code == QCOW2_ERROR_STOPPED)
		return 0;
	*repair->err = err;
	return -1;
}

/* Whether an entry may be one of an L1 table: 0, or a cluster of the file and no reserved bits. */
static bool is_l1_entry(const struct q2_repair *repair, uint64_t entry)
{
	uint64_t offset = qcow2_l1_entry_decode(entry).offset;

	if (entry == 0)
		return true;
	return (entry & qcow2_l1_entry_reserved) == 0 && offset != 0 &&
	       offset % repair->geometry->cluster_size_bytes == 0 &&
	       offset < repair->geometry->file_size_bytes;
}

/* Whether the entries are those of an L1 table, and one at least leads somewhere. */
static int reads_as_l1(struct q2_repair *repair, uint64_t offset, uint64_t entries, bool *does)
{
	uint64_t leading = 0;
	uint8_t *raw = q2_alloc_buffer((size_t)entries * 8);

	*does = false;
	if (!raw)
		return q2_fail_memory(repair->err);
	if (q2_image_read_padded(repair->image, offset, raw, (size_t)entries * 8, repair->err)) {
		q2_free(raw);
		return -1;
	}
	*does = true;
	for (uint64_t i = 0; i < entries && *does; i++) {
		uint64_t entry = q2_load_be64(raw + i * 8);

		*does = is_l1_entry(repair, entry);
		leading += entry != 0;
	}
	*does &= leading > 0;
	q2_free(raw);
	return 0;
}

/* Walks through all claims that a repair makes to find out about one cluster each, at most. */
#define WALKS_MOST 64

int q2_snapshot_find_l1(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
			uint64_t entries, uint64_t *found)
{
	struct q2_snapshot_notes *notes = repair->notes[Q2_DOCTOR_SNAPSHOTS];
	uint64_t cluster = repair->geometry->cluster_size_bytes;
	uint64_t start = entry->header.l1_table_offset / cluster * cluster;
	struct asked asked = {.start = start, .end = start + entries * 8, .index = entry->index};
	bool does;

	*found = 0;
	if (entries == 0 || entries > QCOW2_LIMIT_QEMU_L1_ENTRIES || start == 0 ||
	    asked.end > repair->geometry->file_size_bytes || notes->walks++ >= WALKS_MOST)
		return 0;
	if (reads_as_l1(repair, start, entries, &does))
		return -1;
	if (!does)
		return 0;
	if (is_used(repair, &asked))
		return -1;
	if (!asked.is_used)
		*found = start;
	return 0;
}

int q2_snapshot_is_overlong(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
			    uint64_t needed, bool *is)
{
	struct q2_snapshot_notes *notes = repair->notes[Q2_DOCTOR_SNAPSHOTS];
	uint64_t cluster = repair->geometry->cluster_size_bytes;
	uint64_t start = entry->header.l1_table_offset;
	uint64_t kept = q2_div_ceil_u64(needed * 8, cluster) * cluster;
	uint64_t size = entry->header.l1_size * UINT64_C(8);
	struct asked asked = {.start = start + kept, .end = start + size, .index = entry->index};

	*is = false;
	if (size <= kept || start >= repair->geometry->file_size_bytes)
		return 0;
	if (q2_passes_end(repair->geometry, start, size)) {
		*is = true;
		return 0;
	}
	if (repair->found->by_kind[QCOW2_PROBLEM_CLUSTER_OWNERS] == 0 ||
	    notes->walks++ >= WALKS_MOST)
		return 0;
	if (is_used(repair, &asked))
		return -1;
	*is = asked.is_used;
	return 0;
}

static int by_number(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static bool is_orphan(const struct q2_snapshot_notes *notes, uint64_t offset)
{
	return notes->orphan_count > 0 &&
	       bsearch(&offset, notes->orphans, notes->orphan_count, sizeof(offset), by_number);
}

int q2_snapshot_count_hidden(struct q2_repair *repair, uint64_t offset, uint64_t entries,
			     uint64_t needed, uint64_t *most)
{
	struct q2_snapshot_notes *notes = repair->notes[Q2_DOCTOR_SNAPSHOTS];
	uint64_t cluster = repair->geometry->cluster_size_bytes;
	uint64_t end =
		entries == 0 ? cluster / 8 : (entries * 8 + cluster - 1) / cluster * cluster / 8;

	*most = entries;
	if (notes->orphan_count == 0 || offset == 0)
		return 0;
	qsort(notes->orphans, notes->orphan_count, sizeof(*notes->orphans), by_number);
	for (uint64_t i = entries; i < end && i < needed; i++) {
		uint8_t raw[8];
		uint64_t entry;

		if (q2_image_read_padded(repair->image, offset + i * 8, raw, sizeof(raw),
					 repair->err))
			return -1;
		entry = q2_load_be64(raw);
		if (entry == 0)
			continue;
		if (!is_l1_entry(repair, entry) ||
		    !is_orphan(notes, qcow2_l1_entry_decode(entry).offset))
			break;
		*most = i + 1;
	}
	return 0;
}
