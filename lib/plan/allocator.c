/* SPDX-License-Identifier: MIT */
/* Finds free host clusters and counts them. See allocator.h. */
#include "plan/allocator.h"

#include <inttypes.h>

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "plan/lent.h"
#include "plan/refcounts.h"
#include "source/write.h"

#define OFFSET_MOST (UINT64_C(1) << QCOW2_LIMIT_HOST_OFFSET_BITS)
/* Runs are sought by size, in powers of two: 1, 2, 4 … clusters. */
#define SIZES 32
/* The file does not grow over more clusters behind its end that are counted already. */
#define COUNTED_BEHIND_MOST (UINT64_C(1) << 20)

struct q2_allocator {
	struct qcow2_plan *plan;
	struct q2_refcounts refcounts;
	uint64_t file_size; /* as it was */
	/*
	 * sought[i]: the search for runs of 2^i clusters goes on here; no such run is free before
	 * it. Clusters are only taken while a plan is made, so that searches never have to go back.
	 */
	uint64_t sought[SIZES];
	/*
	 * How many clusters behind the end of the file were counted already, among those before
	 * seen_behind.
	 */
	uint64_t counted_behind, seen_behind;
	uint64_t end; /* first cluster that cannot be taken */
	bool fixed;   /* because a device ends there */
	bool full;    /* a run was asked for that did not fit */
	struct q2_lent lent;
	bool lends; /* room is scarce: runs are chosen to fit tightly */
};

int q2_allocator_open(struct qcow2_plan *plan, const struct qcow2_image *image, bool only_behind,
		      struct q2_allocator **out, struct qcow2_error *err)
{
	struct q2_allocator *a = q2_alloc(sizeof(*a));

	if (!a)
		return q2_fail_memory(err);
	a->plan = plan;
	if (q2_refcounts_init(&a->refcounts, plan, image, err)) {
		q2_allocator_close(a);
		return -1;
	}
	a->file_size = plan->size_bytes;
	a->fixed = q2_source_has_fixed_size(plan->source);
	a->end = a->fixed ? plan->size_bytes >> a->refcounts.cluster_bits
			  : (OFFSET_MOST >> a->refcounts.cluster_bits) + 1;
	a->sought[0] =
		only_behind ? q2_div_ceil_u64(plan->size_bytes, a->refcounts.cluster_size) : 1;
	*out = a;
	return 0;
}

void q2_allocator_close(struct q2_allocator *a)
{
	if (!a)
		return;
	q2_refcounts_release(&a->refcounts);
	q2_lent_release(&a->lent);
	q2_free(a);
}

int q2_allocator_lend(struct q2_allocator *a, const uint64_t *clusters, size_t count,
		      struct qcow2_error *err)
{
	a->lends = true;
	return q2_lent_init(&a->lent, clusters, count) ? 0 : q2_fail_memory(err);
}

/*
 * Sets *is_free to whether `cluster` is free, and *until to where this is known to end. Where no
 * refcount block counts, a whole range is free at once.
 */
static int look(struct q2_allocator *a, uint64_t cluster, bool *is_free, uint64_t *until,
		struct qcow2_error *err)
{
	uint64_t refcount, index = cluster / a->refcounts.per_block;

	*is_free = true;
	*until = index < a->refcounts.entries ? (index + 1) * a->refcounts.per_block : UINT64_MAX;
	if (!q2_refcounts_cover(&a->refcounts, cluster))
		return 0;
	if (q2_refcounts_get(&a->refcounts, cluster, &refcount, err))
		return -1;
	*is_free = refcount == 0 || q2_lent_has(&a->lent, cluster);
	*until = cluster + 1;
	return 0;
}

/* Returns the index in `sought` of the smallest size that has room for `count` clusters. */
static unsigned size_of(uint64_t count)
{
	unsigned size = 0;

	while (size + 1 < SIZES && UINT64_C(1) << size < count)
		size++;
	return size;
}

/*
 * Passes a counted cluster behind the end of the file. Something may refer to it, so that it stays
 * taken. A hostile image may count very many: the search ends then.
 */
static int pass_behind(struct q2_allocator *a, uint64_t cluster, struct qcow2_error *err)
{
	if (cluster << a->refcounts.cluster_bits < a->file_size || cluster < a->seen_behind)
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
 * Finds the first run of free clusters that has room for `count`, rounded up to a power of two. The
 * search for runs of a size goes on where it ended the last time, so that the cost of all searches
 * together is one pass.
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

/*
 * Finds the smallest run that has room, so that larger runs stay for larger needs. Only for a
 * device that is full: it looks at all clusters.
 */
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

/* What is missing before the clusters [first, end) can be counted. */
struct lack {
	uint64_t blocks;         /* refcount blocks that do not exist */
	uint64_t table_clusters; /* of a larger refcount table; 0: it is large enough */
};

static int find_lack(const struct q2_allocator *a, uint64_t first, uint64_t end, struct lack *lack,
		     struct qcow2_error *err)
{
	uint64_t last = (end - 1) / a->refcounts.per_block, entries;

	*lack = (struct lack){0, 0};
	for (uint64_t index = first / a->refcounts.per_block; index <= last; index++)
		lack->blocks += index >= a->refcounts.entries || a->refcounts.table[index] == 0;
	if (last < a->refcounts.entries)
		return 0;
	if (last >= Q2_REFCOUNT_TABLE_MOST_BYTES / 8)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the refcount table would need over %" PRIu64 " bytes",
			       Q2_REFCOUNT_TABLE_MOST_BYTES);
	/* Half as large again as needed, so that moving the table is rare. */
	entries = last + 1 + last / 2;
	if (entries > Q2_REFCOUNT_TABLE_MOST_BYTES / 8)
		entries = Q2_REFCOUNT_TABLE_MOST_BYTES / 8;
	lack->table_clusters = q2_div_ceil_u64(entries * 8, a->refcounts.cluster_size);
	return 0;
}

/* Makes the missing table and blocks, in the clusters from `at` on. */
static int make(struct q2_allocator *a, const struct lack *lack, uint64_t at, uint64_t end,
		struct qcow2_error *err)
{
	uint64_t first = at, block_at = at + lack->table_clusters;

	if (lack->table_clusters > 0 &&
	    q2_refcounts_move_table(&a->refcounts, at, lack->table_clusters, err))
		return -1;
	for (uint64_t index = first / a->refcounts.per_block;
	     index <= (end - 1) / a->refcounts.per_block; index++) {
		if (a->refcounts.table[index] != 0)
			continue;
		if (q2_refcounts_add_block(&a->refcounts, index, block_at++, err))
			return -1;
	}
	return 0;
}

int q2_allocator_take(struct q2_allocator *a, uint64_t count, uint64_t *offset_bytes,
		      struct qcow2_error *err)
{
	struct lack lack = {0, 0};
	int (*find)(struct q2_allocator *, uint64_t, uint64_t *, struct qcow2_error *);
	uint64_t first, more = 0, needed = 0;

	/* The missing blocks and table take clusters as well, which may lack a block again. */
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
	*offset_bytes = (first + needed) << a->refcounts.cluster_bits;
	return 0;
}

int q2_allocator_set(struct q2_allocator *a, uint64_t cluster, uint64_t refcount,
		     struct qcow2_error *err)
{
	return q2_refcounts_set(&a->refcounts, cluster, refcount, err);
}

int q2_allocator_plan(struct q2_allocator *a, enum qcow2_phase phase, struct qcow2_error *err)
{
	return q2_refcounts_plan(&a->refcounts, phase, err);
}

bool q2_allocator_moved_table(const struct q2_allocator *a, uint64_t *offset_bytes,
			      uint64_t *clusters)
{
	*offset_bytes = a->refcounts.old_offset;
	*clusters = a->refcounts.old_clusters;
	return a->refcounts.moved;
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
