/* SPDX-License-Identifier: MIT */
/*
 * See space.h. Behind the end of a file, clusters are passed over that a broken entry refers to:
 * it would lead to what is written there. On a device, the free clusters are found by a search that
 * goes on where it ended the last time, so that no cluster is taken twice.
 */
#include "repair/space.h"

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "repair/repair.h"

/* What an offset in an entry can say. */
#define OFFSET_BITS 56

struct q2_space {
	bool fixed;     /* a device */
	uint64_t first; /* of the clusters that can be taken */
	uint64_t next;  /* clusters before this one are not looked at again */
	uint64_t end;   /* behind the clusters that can be taken */
	uint64_t taken;
	struct q2_memory memory;
	struct q2_bits runs; /* on a device: clusters from `next` on that were taken as runs */
	/* On a device: the refcount block that was read last. */
	uint8_t *block;
	uint64_t block_index;
	bool block_there; /* it counts; else all its refcounts are 0 */
};

static int open_space(struct q2_repair *repair)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	uint64_t size = qcow2_plan_size_bytes(repair->plan);
	struct q2_space *space = q2_alloc(sizeof(*space));

	if (!space)
		return q2_fail_memory(repair->err);
	repair->space = space;
	space->fixed = q2_source_has_fixed_size(repair->plan->source);
	space->block_index = UINT64_MAX;
	space->memory.limit_bytes = QCOW2_CHECK_MEMORY_BYTES;
	space->memory.user = "the repair";
	space->runs.memory = &space->memory;
	if (space->fixed) {
		space->block = q2_alloc_buffer((size_t)geometry->cluster_size_bytes);
		if (!space->block)
			return q2_fail_memory(repair->err);
		space->next = 1;
		space->end = size >> geometry->cluster_bits;
	} else {
		space->next = (size + geometry->cluster_size_bytes - 1) >> geometry->cluster_bits;
		space->end = UINT64_C(1) << (OFFSET_BITS - geometry->cluster_bits);
	}
	space->first = space->next;
	return 0;
}

/* Reads the entry of the refcount table for a block; 0 if there is none that could be used. */
static int find_block(const struct q2_repair *repair, uint64_t index, uint64_t *offset)
{
	const struct qcow2_header *header = repair->header;
	const struct qcow2_geometry *geometry = repair->geometry;
	uint64_t at = header->refcount_table_offset + index * 8;
	uint8_t word[8];

	*offset = 0;
	if (header->refcount_table_offset == 0 ||
	    header->refcount_table_offset % geometry->cluster_size_bytes ||
	    index >= header->refcount_table_clusters * (geometry->cluster_size_bytes / 8))
		return 0;
	if (q2_plan_read(repair->plan, at, word, sizeof(word), repair->err))
		return -1;
	*offset = qcow2_refcount_table_entry_decode(q2_load_be64(word)).offset;
	if (*offset % geometry->cluster_size_bytes || *offset >= geometry->file_size_bytes)
		*offset = 0;
	return 0;
}

/* Whether a cluster of a device is free: no refcount counts it and nothing refers to it. */
static int look_at_device(struct q2_repair *repair, uint64_t cluster, bool *is_free)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	struct q2_space *space = repair->space;
	uint64_t index = cluster / geometry->refcount_block_entries, offset;
	uint64_t size = geometry->cluster_size_bytes;

	*is_free = false;
	if (!repair->counted || q2_references_of(repair->counted, cluster) > 0 ||
	    q2_bits_has(&space->runs, cluster) ||
	    q2_plan_touches(repair->plan, cluster * size, size))
		return 0;
	if (index != space->block_index) {
		if (find_block(repair, index, &offset))
			return -1;
		space->block_there = offset != 0;
		if (space->block_there &&
		    q2_plan_read(repair->plan, offset, space->block, (size_t)size, repair->err))
			return -1;
		space->block_index = index;
	}
	*is_free = !space->block_there ||
		   qcow2_refcount_get(space->block, cluster % geometry->refcount_block_entries,
				      geometry->refcount_bits) == 0;
	return 0;
}

static int look(struct q2_repair *repair, uint64_t cluster, bool *is_free)
{
	const struct q2_references *counted = repair->counted;

	if (repair->space->fixed)
		return look_at_device(repair, cluster, is_free);
	*is_free = !counted || !q2_bits_has(&counted->beyond, cluster);
	return 0;
}

static int fail_full(const struct q2_repair *repair)
{
	if (repair->space->fixed)
		return q2_fail(repair->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the device is full: it has no free clusters for what is new");
	return q2_fail(repair->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
		       "no cluster behind the end of the file is known to be free");
}

/*
 * The last round knows of no cluster farther behind the end than so many. Bits that failed say of
 * none whether it is free.
 */
static bool is_known(const struct q2_repair *repair, uint64_t end)
{
	const struct q2_references *counted = repair->counted;

	if (repair->space->fixed || !counted)
		return true;
	return !counted->beyond.failed &&
	       (counted->beyond.count == 0 || end <= counted->file_clusters + Q2_BEYOND_CLUSTERS);
}

int q2_space_take(struct q2_repair *repair, uint64_t count, uint64_t *offset_bytes)
{
	struct q2_space *space = repair->space;
	uint64_t first, at;
	bool is_free;

	if (!space && open_space(repair))
		return -1;
	space = repair->space;
	for (first = at = space->next; at - first < count; at++) {
		if (at >= space->end || !is_known(repair, at + 1))
			return fail_full(repair);
		if (look(repair, at, &is_free))
			return -1;
		if (!is_free)
			first = at + 1;
	}
	/* On a device, single clusters before a run stay for who needs one. */
	if (!space->fixed || count == 1)
		space->next = at;
	for (uint64_t i = first; space->fixed && i < at; i++)
		q2_bits_add(&space->runs, i);
	if (space->runs.failed)
		return q2_memory_fail(&space->memory, repair->err);
	space->taken += count;
	*offset_bytes = first << repair->geometry->cluster_bits;
	return 0;
}

bool q2_space_is_taken(const struct q2_repair *repair, uint64_t offset_bytes)
{
	const struct q2_space *space = repair->space;
	const uint64_t cluster = offset_bytes >> repair->geometry->cluster_bits;

	if (!space)
		return false;
	return space->fixed ? q2_bits_has(&space->runs, cluster)
			    : cluster >= space->first && cluster < space->next;
}

uint64_t q2_space_taken_count(const struct q2_repair *repair)
{
	return repair->space ? repair->space->taken : 0;
}

void q2_space_close(struct q2_repair *repair)
{
	if (repair->space) {
		q2_free(repair->space->block);
		q2_bits_release(&repair->space->runs);
	}
	q2_free(repair->space);
	repair->space = NULL;
}
