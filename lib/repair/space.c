/* SPDX-License-Identifier: MIT */
/*
 * See space.h. Behind the end of a file, clusters are passed over that a broken entry refers to:
 * it would lead to what is written there. On a device, the free clusters are found by a search that
 * goes on where it ended the last time, so that no cluster is taken twice.
 */
#include "repair/space.h"

#include <string.h>

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "repair/refcounts/trust.h"
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
	bool block_lost;  /* it does not, although it should */
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

/* Whether something refers to a cluster that a block counts. */
static bool is_block_used(const struct q2_repair *repair, uint64_t index)
{
	uint64_t count = repair->geometry->refcount_block_entries;

	for (uint64_t i = index * count; i < (index + 1) * count; i += 64) {
		if (i >= repair->counted->clusters.cluster_count)
			break;
		if (q2_trust_used(&repair->counted->clusters, i))
			return true;
	}
	return false;
}

/* Reads the block that counts a cluster. */
static int read_block(struct q2_repair *repair, uint64_t index)
{
	struct q2_space *space = repair->space;
	uint64_t offset;

	if (find_block(repair, index, &offset))
		return -1;
	space->block_there = offset != 0;
	space->block_lost = offset == 0 && is_block_used(repair, index);
	if (space->block_there &&
	    q2_plan_read(repair->plan, offset, space->block,
			 (size_t)repair->geometry->cluster_size_bytes, repair->err))
		return -1;
	space->block_index = index;
	return 0;
}

/* Whether the refcount of a cluster, which is 0, is lost. */
static bool is_refcount_lost(const struct q2_repair *repair, uint64_t cluster)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	const struct q2_space *space = repair->space;
	uint64_t index = cluster % geometry->refcount_block_entries;
	uint64_t at = index * geometry->refcount_bits / 8 & ~(uint64_t)(Q2_TRUST_BYTES - 1);

	if (!space->block_there)
		return space->block_lost;
	return q2_trust_is_lost(&repair->counted->clusters, repair->header->refcount_order,
				space->block + at,
				cluster - index + at * 8 / geometry->refcount_bits);
}

/* Reads whether a cluster holds zeros. */
static int look_for_zeros(struct q2_repair *repair, uint64_t cluster, bool *zeros)
{
	uint8_t bytes[4096];
	uint64_t size = repair->geometry->cluster_size_bytes, at = cluster * size;

	*zeros = true;
	for (uint64_t end = at + size; at < end && *zeros; at += sizeof(bytes)) {
		size_t piece = end - at < sizeof(bytes) ? (size_t)(end - at) : sizeof(bytes);

		if (q2_plan_read(repair->plan, at, bytes, piece, repair->err))
			return -1;
		*zeros = bytes[0] == 0 && memcmp(bytes, bytes + 1, piece - 1) == 0;
	}
	return 0;
}

/*
 * Whether a cluster of a device is free: no refcount counts it and nothing refers to it. If its
 * refcount is lost, it may be lost data unless it holds zeros.
 */
static int look_at_device(struct q2_repair *repair, uint64_t cluster, bool *is_free)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	struct q2_space *space = repair->space;
	uint64_t index = cluster / geometry->refcount_block_entries;
	uint64_t size = geometry->cluster_size_bytes;

	*is_free = false;
	if (!repair->counted || q2_references_of(repair->counted, cluster) > 0 ||
	    q2_bits_has(&space->runs, cluster) ||
	    q2_plan_touches(repair->plan, cluster * size, size))
		return 0;
	if (index != space->block_index && read_block(repair, index))
		return -1;
	*is_free = !space->block_there ||
		   qcow2_refcount_get(space->block, cluster % geometry->refcount_block_entries,
				      geometry->refcount_bits) == 0;
	if (*is_free && !repair->options->free_lost && !repair->is_free_known &&
	    is_refcount_lost(repair, cluster))
		return look_for_zeros(repair, cluster, is_free);
	return 0;
}

/*
 * Whether something leads to a cluster past the end of the file. What begins in the first of them and
 * is shorter is counted like what lies in the file.
 */
static bool is_led_to(const struct q2_references *counted, uint64_t cluster)
{
	return counted &&
	       (q2_bits_has(&counted->beyond, cluster) || q2_references_of(counted, cluster) > 0);
}

/*
 * Version 3 has the corrupt bit until all is mended. In version 2 nothing keeps a guest from reading
 * what is new through an entry that is broken yet, if the repair is interrupted.
 */
static bool was_led_to(const struct q2_repair *repair, uint64_t cluster)
{
	return repair->header->version < 3 &&
	       repair->counted_first_bits == repair->geometry->cluster_bits &&
	       is_led_to(repair->counted_first, cluster);
}

static int look(struct q2_repair *repair, uint64_t cluster, bool *is_free)
{
	if (repair->space->fixed)
		return look_at_device(repair, cluster, is_free);
	*is_free = !is_led_to(repair->counted, cluster) && !was_led_to(repair, cluster);
	return 0;
}

static int fail_full(const struct q2_repair *repair)
{
	if (repair->space->fixed)
		return q2_fail(
			repair->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			"the device is full: it has no clusters for what is new that are known "
			"to be free");
	return q2_fail(repair->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
		       "no cluster behind the end of the file is known to be free, as a structure "
		       "claims all of them: 'qcow2 rescue' finds out what the image was, 'qemu-img "
		       "convert' copies what can be read");
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
