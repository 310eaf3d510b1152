/* SPDX-License-Identifier: MIT */
/* See refcounts.h. */
#include "plan/refcounts.h"

#include <string.h>

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"

/* In the header: refcount_table_offset and, side by side with it, refcount_table_clusters. */
#define HEADER_TABLE_AT    offsetof(struct qcow2_header, refcount_table_offset)
#define HEADER_TABLE_BYTES (offsetof(struct qcow2_header, nb_snapshots) - HEADER_TABLE_AT)

static uint64_t blocks_of(const struct q2_refcounts *r, uint64_t clusters)
{
	return clusters * r->cluster_size / 8;
}

static int load_table(struct q2_refcounts *r, struct qcow2_error *err)
{
	uint64_t bytes = r->table_clusters << r->cluster_bits;
	uint8_t *raw;

	if (r->table_offset == 0 || r->table_offset % r->cluster_size != 0 ||
	    r->table_clusters == 0 || bytes > Q2_REFCOUNT_TABLE_MOST_BYTES ||
	    r->table_offset >= r->plan->size_bytes)
		return q2_fail(err, QCOW2_ERROR_BROKEN, HEADER_TABLE_AT,
			       "there is no refcount table in which clusters could be counted");
	r->entries = blocks_of(r, r->table_clusters);
	r->table = q2_alloc_array((size_t)r->entries, sizeof(*r->table));
	r->blocks = q2_alloc_array((size_t)r->entries, sizeof(*r->blocks));
	raw = q2_alloc_buffer((size_t)bytes);
	if (!r->table || !r->blocks || !raw) {
		q2_free(raw);
		return q2_fail_memory(err);
	}
	if (q2_plan_read(r->plan, r->table_offset, raw, (size_t)bytes, err)) {
		q2_free(raw);
		return -1;
	}
	for (uint64_t i = 0; i < r->entries; i++)
		r->table[i] = qcow2_refcount_table_entry_decode(q2_load_be64(raw + i * 8)).offset;
	q2_free(raw);
	return 0;
}

int q2_refcounts_init(struct q2_refcounts *r, struct qcow2_plan *plan,
		      const struct qcow2_image *image, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const struct qcow2_header *header = qcow2_image_header(image);

	*r = (struct q2_refcounts){
		.plan = plan,
		.cluster_bits = geometry->cluster_bits,
		.cluster_size = geometry->cluster_size_bytes,
		.refcount_bits = geometry->refcount_bits,
		.per_block = geometry->refcount_block_entries,
		.table_offset = header->refcount_table_offset,
		.table_clusters = header->refcount_table_clusters,
		.last = UINT64_MAX,
	};
	return load_table(r, err);
}

void q2_refcounts_release(struct q2_refcounts *r)
{
	for (uint64_t i = 0; r->blocks && i < r->entries; i++)
		q2_free(r->blocks[i].bytes);
	q2_free(r->blocks);
	q2_free(r->table);
}

static void forget_last(struct q2_refcounts *r)
{
	if (r->last >= r->entries || r->blocks[r->last].changed)
		return;
	q2_free(r->blocks[r->last].bytes);
	r->blocks[r->last].bytes = NULL;
}

/*
 * Returns a block that the table has, reading it if it must be; NULL with *err filled. At most one
 * block that has not changed stays in memory.
 */
static uint8_t *load_block(struct q2_refcounts *r, uint64_t index, struct qcow2_error *err)
{
	struct q2_refcount_block *block = &r->blocks[index];
	uint64_t offset = r->table[index];

	if (block->bytes)
		return block->bytes;
	if (offset % r->cluster_size != 0 || offset >= r->plan->size_bytes) {
		q2_fail(err, QCOW2_ERROR_BROKEN, r->table_offset + index * 8,
			"a refcount block is not where the refcount table says: no cluster can "
			"be taken");
		return NULL;
	}
	forget_last(r);
	block->bytes = q2_alloc_buffer((size_t)r->cluster_size);
	if (!block->bytes) {
		q2_fail_memory(err);
		return NULL;
	}
	if (q2_plan_read(r->plan, offset, block->bytes, (size_t)r->cluster_size, err)) {
		q2_free(block->bytes);
		block->bytes = NULL;
		return NULL;
	}
	r->last = index;
	return block->bytes;
}

bool q2_refcounts_cover(const struct q2_refcounts *r, uint64_t cluster)
{
	uint64_t index = cluster / r->per_block;

	return index < r->entries && r->table[index] != 0;
}

int q2_refcounts_get(struct q2_refcounts *r, uint64_t cluster, uint64_t *refcount,
		     struct qcow2_error *err)
{
	uint8_t *bytes;

	*refcount = 0;
	if (!q2_refcounts_cover(r, cluster))
		return 0;
	bytes = load_block(r, cluster / r->per_block, err);
	if (!bytes)
		return -1;
	*refcount = qcow2_refcount_get(bytes, cluster % r->per_block, r->refcount_bits);
	return 0;
}

int q2_refcounts_set(struct q2_refcounts *r, uint64_t cluster, uint64_t refcount,
		     struct qcow2_error *err)
{
	uint64_t index = cluster / r->per_block;
	uint8_t *bytes;

	if (!q2_refcounts_cover(r, cluster))
		return 0;
	bytes = load_block(r, index, err);
	if (!bytes)
		return -1;
	qcow2_refcount_put(bytes, cluster % r->per_block, r->refcount_bits, refcount);
	r->blocks[index].changed = true;
	return 0;
}

int q2_refcounts_add_block(struct q2_refcounts *r, uint64_t index, uint64_t cluster,
			   struct qcow2_error *err)
{
	r->blocks[index].bytes = q2_alloc_array((size_t)r->cluster_size, 1);
	if (!r->blocks[index].bytes)
		return q2_fail_memory(err);
	r->blocks[index].changed = true;
	r->table[index] = cluster << r->cluster_bits;
	r->table_changed = true;
	return 0;
}

int q2_refcounts_move_table(struct q2_refcounts *r, uint64_t cluster, uint64_t clusters,
			    struct qcow2_error *err)
{
	uint64_t entries = blocks_of(r, clusters);
	uint64_t *table = q2_alloc_array((size_t)entries, sizeof(*table));
	struct q2_refcount_block *blocks = q2_alloc_array((size_t)entries, sizeof(*blocks));

	if (!table || !blocks) {
		q2_free(table);
		q2_free(blocks);
		return q2_fail_memory(err);
	}
	memcpy(table, r->table, (size_t)r->entries * sizeof(*table));
	memcpy(blocks, r->blocks, (size_t)r->entries * sizeof(*blocks));
	q2_free(r->table);
	q2_free(r->blocks);
	r->table = table;
	r->blocks = blocks;
	r->entries = entries;
	if (!r->moved) {
		r->old_offset = r->table_offset;
		r->old_clusters = r->table_clusters;
	}
	r->table_offset = cluster << r->cluster_bits;
	r->table_clusters = clusters;
	r->table_changed = r->moved = true;
	return 0;
}

static int plan_table(struct q2_refcounts *r, struct qcow2_error *err)
{
	uint64_t size = r->table_clusters << r->cluster_bits;
	uint8_t *raw = q2_alloc_buffer((size_t)size), header[sizeof(struct qcow2_header)];
	const struct qcow2_header place = {
		.version = 3,
		.refcount_table_offset = r->table_offset,
		.refcount_table_clusters = (uint32_t)r->table_clusters,
	};
	int failed;

	if (!raw)
		return q2_fail_memory(err);
	for (uint64_t i = 0; i < r->entries; i++)
		q2_store_be64(raw + i * 8, r->table[i]);
	failed = qcow2_plan_write(
		r->plan, r->moved ? QCOW2_PHASE_NEW : QCOW2_PHASE_COUNT, r->table_offset,
		(struct qcow2_bytes){raw, (size_t)size},
		r->moved ? "a larger refcount table" : "where new refcount blocks are", err);
	q2_free(raw);
	if (failed || !r->moved)
		return failed;
	qcow2_header_encode(&place, header, sizeof(header));
	return qcow2_plan_write(r->plan, QCOW2_PHASE_COUNT, HEADER_TABLE_AT,
				(struct qcow2_bytes){header + HEADER_TABLE_AT, HEADER_TABLE_BYTES},
				"where the larger refcount table is", err);
}

int q2_refcounts_plan(struct q2_refcounts *r, enum qcow2_phase phase, struct qcow2_error *err)
{
	for (uint64_t i = 0; i < r->entries; i++) {
		if (!r->blocks[i].changed)
			continue;
		if (qcow2_plan_write(
			    r->plan, phase, r->table[i],
			    (struct qcow2_bytes){r->blocks[i].bytes, (size_t)r->cluster_size},
			    phase == QCOW2_PHASE_CLEAN ? "count what is no longer used as free"
						       : "count new clusters",
			    err))
			return -1;
		/* The block stays in memory: a later change is a change of these bytes. */
	}
	if (r->table_changed && plan_table(r, err))
		return -1;
	r->table_changed = false;
	return 0;
}
