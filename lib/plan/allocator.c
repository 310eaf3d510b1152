/* SPDX-License-Identifier: MIT */
/* Finds free host clusters and counts them. See allocator.h. */
#include "plan/allocator.h"

#include <qcow2/entry.h>

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "plan/lent.h"
#include "source/write.h"

#define TABLE_MOST_BYTES (UINT64_C(8) << 20) /* QEMU's limit */
#define OFFSET_MOST      (UINT64_C(1) << 56)
/* Sizes of runs, doubling. */
#define SIZES 32
/* Behind its end, the file does not grow over more clusters that are counted all the same. */
#define COUNTED_BEHIND_MOST (UINT64_C(1) << 20)
/* In the header: refcount_table_offset and, side by side with it, refcount_table_clusters. */
#define HEADER_TABLE_AT    offsetof(struct qcow2_header, refcount_table_offset)
#define HEADER_TABLE_BYTES (offsetof(struct qcow2_header, nb_snapshots) - HEADER_TABLE_AT)

/* A refcount block in memory. */
struct block {
	uint8_t *bytes; /* NULL: not read */
	bool changed;
};

struct q2_allocator {
	struct qcow2_plan *plan;
	unsigned cluster_bits, refcount_bits;
	uint64_t cluster_size, per_block;
	uint64_t table_offset, table_clusters;
	uint64_t old_offset, old_clusters; /* of the table that was replaced */
	uint64_t *table;                   /* in host order */
	struct block *blocks;
	uint64_t entries;
	bool table_changed, moved;
	uint64_t file_size; /* as it was */
	/* Before these, no run of 1, 2, 4 … clusters, or more, is free. */
	uint64_t sought[SIZES];
	/* Clusters behind the end of the file that were counted already, up to seen_behind. */
	uint64_t counted_behind, seen_behind;
	uint64_t end; /* there are no clusters from this one on */
	bool fixed;   /* since a device ends there */
	bool full;    /* one that did not fit was asked for */
	struct q2_lent lent;
	bool lends;    /* so room is scarce, and runs are chosen to fit tightly */
	uint64_t last; /* the block that was read last, which is forgotten if it has not changed */
};

static uint64_t blocks_of(const struct q2_allocator *a, uint64_t clusters)
{
	return clusters * a->cluster_size / 8;
}

static int load_table(struct q2_allocator *a, struct qcow2_error *err)
{
	uint64_t bytes = a->table_clusters << a->cluster_bits;
	uint8_t *raw;

	if (a->table_offset == 0 || a->table_offset % a->cluster_size != 0 ||
	    a->table_clusters == 0 || bytes > TABLE_MOST_BYTES ||
	    a->table_offset >= a->plan->size_bytes)
		return q2_fail(err, QCOW2_ERROR_BROKEN, HEADER_TABLE_AT,
			       "there is no refcount table in which clusters could be counted");
	a->entries = blocks_of(a, a->table_clusters);
	a->table = q2_alloc_array((size_t)a->entries, sizeof(*a->table));
	a->blocks = q2_alloc_array((size_t)a->entries, sizeof(*a->blocks));
	raw = q2_alloc_buffer((size_t)bytes);
	if (!a->table || !a->blocks || !raw) {
		q2_free(raw);
		return q2_fail_memory(err);
	}
	if (q2_plan_read(a->plan, a->table_offset, raw, (size_t)bytes, err)) {
		q2_free(raw);
		return -1;
	}
	for (uint64_t i = 0; i < a->entries; i++)
		a->table[i] = qcow2_refcount_table_entry_decode(q2_load_be64(raw + i * 8)).offset;
	q2_free(raw);
	return 0;
}

int q2_allocator_open(struct qcow2_plan *plan, const struct qcow2_image *image, bool only_behind,
		      struct q2_allocator **out, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const struct qcow2_header *header = qcow2_image_header(image);
	struct q2_allocator *a = q2_alloc(sizeof(*a));

	if (!a)
		return q2_fail_memory(err);
	a->plan = plan;
	a->cluster_bits = geometry->cluster_bits;
	a->cluster_size = geometry->cluster_size_bytes;
	a->refcount_bits = geometry->refcount_bits;
	a->per_block = geometry->refcount_block_entries;
	a->table_offset = header->refcount_table_offset;
	a->table_clusters = header->refcount_table_clusters;
	a->last = UINT64_MAX;
	a->file_size = plan->size_bytes;
	a->fixed = q2_source_has_fixed_size(plan->source);
	a->end = a->fixed ? plan->size_bytes >> a->cluster_bits
			  : (OFFSET_MOST >> a->cluster_bits) + 1;
	a->sought[0] = only_behind ? q2_div_ceil_u64(plan->size_bytes, a->cluster_size) : 1;
	if (load_table(a, err)) {
		q2_allocator_close(a);
		return -1;
	}
	*out = a;
	return 0;
}

void q2_allocator_close(struct q2_allocator *a)
{
	if (!a)
		return;
	for (uint64_t i = 0; a->blocks && i < a->entries; i++)
		q2_free(a->blocks[i].bytes);
	q2_free(a->blocks);
	q2_free(a->table);
	q2_lent_release(&a->lent);
	q2_free(a);
}

static void forget_last(struct q2_allocator *a)
{
	if (a->last >= a->entries || a->blocks[a->last].changed)
		return;
	q2_free(a->blocks[a->last].bytes);
	a->blocks[a->last].bytes = NULL;
}

/* The block of that index, which the table has; NULL with *err filled if it cannot be read. */
static uint8_t *load_block(struct q2_allocator *a, uint64_t index, struct qcow2_error *err)
{
	struct block *block = &a->blocks[index];
	uint64_t offset = a->table[index];

	if (block->bytes)
		return block->bytes;
	if (offset % a->cluster_size != 0 || offset >= a->plan->size_bytes) {
		q2_fail(err, QCOW2_ERROR_BROKEN, a->table_offset + index * 8,
			"a refcount block is not where the refcount table says: no cluster can "
			"be taken");
		return NULL;
	}
	forget_last(a);
	block->bytes = q2_alloc_buffer((size_t)a->cluster_size);
	if (!block->bytes) {
		q2_fail_memory(err);
		return NULL;
	}
	if (q2_plan_read(a->plan, offset, block->bytes, (size_t)a->cluster_size, err)) {
		q2_free(block->bytes);
		block->bytes = NULL;
		return NULL;
	}
	a->last = index;
	return block->bytes;
}

static bool is_counted(const struct q2_allocator *a, uint64_t cluster)
{
	uint64_t index = cluster / a->per_block;

	return index < a->entries && a->table[index] != 0;
}

/* 0 where nothing counts it. */
static int get_refcount(struct q2_allocator *a, uint64_t cluster, uint64_t *refcount,
			struct qcow2_error *err)
{
	uint8_t *bytes;

	*refcount = 0;
	if (!is_counted(a, cluster))
		return 0;
	bytes = load_block(a, cluster / a->per_block, err);
	if (!bytes)
		return -1;
	*refcount = qcow2_refcount_get(bytes, cluster % a->per_block, a->refcount_bits);
	return 0;
}

int q2_allocator_set(struct q2_allocator *a, uint64_t cluster, uint64_t refcount,
		     struct qcow2_error *err)
{
	uint64_t index = cluster / a->per_block;
	uint8_t *bytes;

	if (!is_counted(a, cluster))
		return 0;
	bytes = load_block(a, index, err);
	if (!bytes)
		return -1;
	qcow2_refcount_put(bytes, cluster % a->per_block, a->refcount_bits, refcount);
	a->blocks[index].changed = true;
	return 0;
}

int q2_allocator_lend(struct q2_allocator *a, const uint64_t *clusters, size_t count,
		      struct qcow2_error *err)
{
	a->lends = true;
	return q2_lent_init(&a->lent, clusters, count) ? 0 : q2_fail_memory(err);
}

/* From cluster on: whether clusters are free, and up to where that holds at least. */
static int look(struct q2_allocator *a, uint64_t cluster, bool *is_free, uint64_t *until,
		struct qcow2_error *err)
{
	uint64_t refcount, index = cluster / a->per_block;

	*is_free = true;
	*until = index < a->entries ? (index + 1) * a->per_block : UINT64_MAX;
	if (!is_counted(a, cluster))
		return 0;
	if (get_refcount(a, cluster, &refcount, err))
		return -1;
	*is_free = refcount == 0 || q2_lent_has(&a->lent, cluster);
	*until = cluster + 1;
	return 0;
}

/* The smallest size, as an index of sought, of which a run has room for count clusters. */
static unsigned size_of(uint64_t count)
{
	unsigned size = 0;

	while (size + 1 < SIZES && UINT64_C(1) << size < count)
		size++;
	return size;
}

/* A taken cluster behind the end of the file: something may refer to it, so it stays what it is. */
static int pass_behind(struct q2_allocator *a, uint64_t cluster, struct qcow2_error *err)
{
	if (cluster << a->cluster_bits < a->file_size || cluster < a->seen_behind)
		return 0;
	a->seen_behind = cluster + 1;
	if (++a->counted_behind <= COUNTED_BEHIND_MOST)
		return 0;
	return q2_fail(err, QCOW2_ERROR_LIMIT, a->file_size,
		       "the refcounts count over %" PRIu64 " clusters behind the end of the "
		       "file: no cluster is taken behind them",
		       COUNTED_BEHIND_MOST);
}

static int fail_end(struct q2_allocator *a, struct qcow2_error *err)
{
	a->full = a->fixed;
	if (a->fixed)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the device is full: it has no free clusters for what is new");
	return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
		       "there is no free cluster below 2^56 bytes");
}

/*
 * Free clusters side by side: the first run that has room for as many, rounded up to a size of
 * which the search goes on where it ended, so that searches do not begin again and again.
 */
static int find_run(struct q2_allocator *a, uint64_t count, uint64_t *first,
		    struct qcow2_error *err)
{
	unsigned size = size_of(count);
	uint64_t wanted = UINT64_C(1) << size > count ? UINT64_C(1) << size : count;
	uint64_t at = a->sought[0], until;
	bool is_free;

	for (unsigned i = 1; i <= size; i++)
		if (a->sought[i] > at)
			at = a->sought[i];
	for (*first = at; *first + wanted > at; at = until) {
		if (at >= a->end)
			return fail_end(a, err);
		if (look(a, at, &is_free, &until, err) || (!is_free && pass_behind(a, at, err)))
			return -1;
		if (!is_free)
			*first = until;
	}
	if (*first + wanted > a->end)
		return fail_end(a, err);
	a->sought[size] = *first;
	return 0;
}

/* The smallest run that has room, so that larger ones stay for what needs them. */
static int find_tight_run(struct q2_allocator *a, uint64_t count, uint64_t *first,
			  struct qcow2_error *err)
{
	uint64_t best = UINT64_MAX, begin = a->sought[0], until;
	bool is_free;

	for (uint64_t at = begin; at < a->end; at = until) {
		if (look(a, at, &is_free, &until, err))
			return -1;
		if (is_free && until < a->end)
			continue;
		if (is_free)
			at = a->end;
		if (at - begin >= count && at - begin < best) {
			best = at - begin;
			*first = begin;
		}
		begin = until;
	}
	return best < UINT64_MAX ? 0 : fail_end(a, err);
}

/* What clusters [first, end) need before they can be counted. */
struct lack {
	uint64_t blocks;         /* that do not exist */
	uint64_t table_clusters; /* of a larger refcount table; 0: it is large enough */
};

static int find_lack(const struct q2_allocator *a, uint64_t first, uint64_t end, struct lack *lack,
		     struct qcow2_error *err)
{
	uint64_t last = (end - 1) / a->per_block, entries;

	*lack = (struct lack){0, 0};
	for (uint64_t index = first / a->per_block; index <= last; index++)
		lack->blocks += index >= a->entries || a->table[index] == 0;
	if (last < a->entries)
		return 0;
	if (last >= TABLE_MOST_BYTES / 8)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the refcount table would need over %" PRIu64 " bytes",
			       TABLE_MOST_BYTES);
	/* Half as much again, so that this is rare. */
	entries = last + 1 + last / 2;
	if (entries > TABLE_MOST_BYTES / 8)
		entries = TABLE_MOST_BYTES / 8;
	lack->table_clusters = q2_div_ceil_u64(entries * 8, a->cluster_size);
	return 0;
}

static int replace_table(struct q2_allocator *a, uint64_t cluster, uint64_t clusters,
			 struct qcow2_error *err)
{
	uint64_t entries = blocks_of(a, clusters);
	uint64_t *table = q2_alloc_array((size_t)entries, sizeof(*table));
	struct block *blocks = q2_alloc_array((size_t)entries, sizeof(*blocks));

	if (!table || !blocks) {
		q2_free(table);
		q2_free(blocks);
		return q2_fail_memory(err);
	}
	memcpy(table, a->table, (size_t)a->entries * sizeof(*table));
	memcpy(blocks, a->blocks, (size_t)a->entries * sizeof(*blocks));
	q2_free(a->table);
	q2_free(a->blocks);
	a->table = table;
	a->blocks = blocks;
	a->entries = entries;
	if (!a->moved) {
		a->old_offset = a->table_offset;
		a->old_clusters = a->table_clusters;
	}
	a->table_offset = cluster << a->cluster_bits;
	a->table_clusters = clusters;
	a->table_changed = a->moved = true;
	return 0;
}

/* Makes what is lacking, from the cluster at on. */
static int make(struct q2_allocator *a, const struct lack *lack, uint64_t at, uint64_t end,
		struct qcow2_error *err)
{
	uint64_t first = at, block_at = at + lack->table_clusters;

	if (lack->table_clusters > 0 && replace_table(a, at, lack->table_clusters, err))
		return -1;
	for (uint64_t index = first / a->per_block; index <= (end - 1) / a->per_block; index++) {
		if (a->table[index] != 0)
			continue;
		a->blocks[index].bytes = q2_alloc_array((size_t)a->cluster_size, 1);
		if (!a->blocks[index].bytes)
			return q2_fail_memory(err);
		a->blocks[index].changed = true;
		a->table[index] = block_at++ << a->cluster_bits;
		a->table_changed = true;
	}
	return 0;
}

int q2_allocator_take(struct q2_allocator *a, uint64_t count, uint64_t *offset_bytes,
		      struct qcow2_error *err)
{
	struct lack lack = {0, 0};
	int (*find)(struct q2_allocator *, uint64_t, uint64_t *, struct qcow2_error *);
	uint64_t first, more = 0, needed = 0;

	/* What is lacking takes clusters itself, which may lack something. */
	do {
		more = needed;
		find = a->lends && more + count > 1 ? find_tight_run : find_run;
		if (find(a, more + count, &first, err) ||
		    find_lack(a, first, first + more + count, &lack, err))
			return -1;
		needed = lack.blocks + lack.table_clusters;
	} while (needed > more);
	if (make(a, &lack, first, first + more + count, err))
		return -1;
	for (uint64_t i = 0; i < needed + count; i++) {
		if (q2_allocator_set(a, first + i, 1, err))
			return -1;
		q2_lent_take(&a->lent, first + i);
	}
	if (first + needed + count > a->seen_behind)
		a->seen_behind = first + needed + count;
	*offset_bytes = (first + needed) << a->cluster_bits;
	return 0;
}

static int plan_table(struct q2_allocator *a, struct qcow2_error *err)
{
	uint64_t size = a->table_clusters << a->cluster_bits;
	uint8_t *raw = q2_alloc_buffer((size_t)size), header[sizeof(struct qcow2_header)];
	const struct qcow2_header place = {
		.version = 3,
		.refcount_table_offset = a->table_offset,
		.refcount_table_clusters = (uint32_t)a->table_clusters,
	};
	int failed;

	if (!raw)
		return q2_fail_memory(err);
	for (uint64_t i = 0; i < a->entries; i++)
		q2_store_be64(raw + i * 8, a->table[i]);
	failed = qcow2_plan_write(
		a->plan, a->moved ? QCOW2_PHASE_NEW : QCOW2_PHASE_COUNT, a->table_offset,
		(struct qcow2_bytes){raw, (size_t)size},
		a->moved ? "a larger refcount table" : "where new refcount blocks are", err);
	q2_free(raw);
	if (failed || !a->moved)
		return failed;
	qcow2_header_encode(&place, header, sizeof(header));
	return qcow2_plan_write(a->plan, QCOW2_PHASE_COUNT, HEADER_TABLE_AT,
				(struct qcow2_bytes){header + HEADER_TABLE_AT, HEADER_TABLE_BYTES},
				"where the larger refcount table is", err);
}

int q2_allocator_plan(struct q2_allocator *a, enum qcow2_phase phase, struct qcow2_error *err)
{
	for (uint64_t i = 0; i < a->entries; i++) {
		if (!a->blocks[i].changed)
			continue;
		if (qcow2_plan_write(
			    a->plan, phase, a->table[i],
			    (struct qcow2_bytes){a->blocks[i].bytes, (size_t)a->cluster_size},
			    phase == QCOW2_PHASE_CLEAN ? "count what is no longer used as free"
						       : "count new clusters",
			    err))
			return -1;
		/* It stays: what follows changes it as it is in memory. */
	}
	if (a->table_changed && plan_table(a, err))
		return -1;
	a->table_changed = false;
	return 0;
}

bool q2_allocator_moved_table(const struct q2_allocator *a, uint64_t *offset_bytes,
			      uint64_t *clusters)
{
	*offset_bytes = a->old_offset;
	*clusters = a->old_clusters;
	return a->moved;
}

bool q2_allocator_is_full(const struct q2_allocator *a)
{
	return a->full;
}

int q2_allocator_count_free(struct q2_allocator *a, uint64_t *count, struct qcow2_error *err)
{
	uint64_t until;
	bool is_free;

	*count = 0;
	for (uint64_t at = a->sought[0]; at < a->end; at = until) {
		if (look(a, at, &is_free, &until, err))
			return -1;
		if (until > a->end)
			until = a->end;
		*count += is_free ? until - at : 0;
	}
	return 0;
}
