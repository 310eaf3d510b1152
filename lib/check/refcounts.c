/* SPDX-License-Identifier: MIT */
/*
 * Refcounts against the references that there are: every refcount block is read once, by any of the
 * threads, and compared 64 clusters at a step. The copied flag is judged here, too: an active entry
 * must have it if and only if the refcount is 1.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/crew.h"
#include "check/classify.h"
#include "check/internal.h"

/* Blocks that are at one place are read once: [first, last) of the blocks. */
struct work {
	struct qcow2_check *check;
	struct q2_refcount_block *blocks;
	size_t count;
	q2_classify classify;
	uint64_t per_piece;
};

static uint64_t largest_refcount(const struct qcow2_check *check)
{
	return UINT64_MAX >> (64 - check->geometry->refcount_bits);
}

static void add_bad(struct q2_check_worker *worker, enum q2_bad kind,
		    const struct q2_bad_cluster *item)
{
	if (q2_bad_list_add(worker->check, &worker->bad[kind], kind, item) || worker->failed)
		return;
	worker->failed = true;
	q2_check_fail_memory(worker->check, &worker->err);
}

/* One cluster whose refcount may be wrong. */
static void judge(struct q2_check_worker *worker, uint64_t cluster, uint64_t refcount)
{
	const struct qcow2_check_options *options = worker->check->options;
	struct q2_cluster_state state =
		q2_clusters_get(&worker->check->workers[0].clusters, cluster);
	struct q2_bad_cluster item = {
		.cluster = cluster, .refcount = refcount, .count = state.count};
	uint64_t most = largest_refcount(worker->check);

	if (options->wants_cluster && !options->wants_cluster(options->opaque, cluster))
		return;
	if (refcount < state.count && refcount < most)
		add_bad(worker, Q2_BAD_REFCOUNT_LOW, &item);
	if (state.count > most)
		add_bad(worker, Q2_BAD_OVERFLOW, &item);
	if (refcount > state.count)
		add_bad(worker, Q2_BAD_REFCOUNT_HIGH, &item);
	if (refcount != 1 && (state.flags & Q2_SEEN_COPIED))
		add_bad(worker, Q2_BAD_COPIED_SET, &item);
	if (refcount == 1 && (state.flags & Q2_SEEN_SHARED))
		add_bad(worker, Q2_BAD_COPIED_CLEAR, &item);
	if (state.flags & Q2_SEEN_CONFLICT)
		add_bad(worker, Q2_BAD_OWNERS, &item);
}

static void judge_bits(struct q2_check_worker *worker, uint64_t cluster, uint64_t bits,
		       const uint8_t *refcounts)
{
	unsigned width = worker->check->geometry->refcount_bits;

	for (; bits != 0; bits &= bits - 1) {
		unsigned i = (unsigned)__builtin_ctzll(bits);

		if (cluster + i >= worker->check->bad_from)
			judge(worker, cluster + i,
			      refcounts ? q2_refcount_at(refcounts, i, width) : 0);
	}
}

/* The clusters that active entries without the copied flag were the first to refer to. */
static uint64_t active_unflagged(const uint64_t *uses)
{
	return (uses[0] & uses[1] & ~uses[2]) | (~uses[0] & uses[1] & uses[2]);
}

/*
 * 64 clusters from cluster on, which nothing refers to more than once unless their chunk has
 * counters. classes says which refcounts are 0 and 1. Returns the clusters to look at closely.
 */
static uint64_t suspects(const struct q2_cluster_chunk *chunk, unsigned group,
			 struct q2_refcount_classes classes)
{
	const uint64_t *uses = chunk->uses[group];
	uint64_t seen = uses[0] | uses[1] | uses[2];

	if (chunk->many)
		return seen | ~classes.zero;
	return (seen & ~classes.one) | (~seen & ~classes.zero) | active_unflagged(uses);
}

/* As suspects(), of a chunk with small counters. */
static uint64_t suspects_of_few(const struct qcow2_check *check,
				const struct q2_cluster_chunk *chunk, unsigned group,
				const uint8_t *refcounts)
{
	const uint64_t *uses = chunk->uses[group];
	const uint16_t *few = chunk->few + (size_t)group * 64;
	uint64_t seen = uses[0] | uses[1] | uses[2], bits = 0;
	uint64_t unflagged = active_unflagged(uses);
	unsigned width = check->geometry->refcount_bits;

	for (unsigned i = 0; i < 64; i++) {
		uint64_t refcount = q2_refcount_at(refcounts, i, width);
		uint64_t expected = few[i] ? few[i] >> 3 : seen >> i & 1;
		bool closer = (few[i] & (Q2_SEEN_CONFLICT | Q2_SEEN_COPIED)) != 0 ||
			      (refcount == 1 && (unflagged >> i & 1));

		bits |= (uint64_t)(refcount != expected || closer) << i;
	}
	return bits;
}

static uint64_t top_bit(uint64_t bits)
{
	return 64 - (uint64_t)__builtin_clzll(bits);
}

/* Notes that clusters up to the highest of bits are in use. */
static void note_highest(struct q2_check_worker *worker, uint64_t cluster, uint64_t bits)
{
	if (bits != 0 && cluster + top_bit(bits) > worker->highest_cluster)
		worker->highest_cluster = cluster + top_bit(bits);
}

/*
 * Clusters that nothing refers to, of which none is told: they are counted at once. An image may
 * claim billions of them.
 */
static bool count_leaks(struct q2_check_worker *worker, uint64_t cluster, uint64_t bits)
{
	struct q2_bad_list *list = &worker->bad[Q2_BAD_REFCOUNT_HIGH];

	if (cluster < worker->check->bad_from ||
	    !q2_bad_list_is_past(worker->check, list, Q2_BAD_REFCOUNT_HIGH, cluster))
		return false;
	list->total += (uint64_t)__builtin_popcountll(bits);
	return true;
}

static void compare_group(struct q2_check_worker *worker, const struct work *work, uint64_t cluster,
			  const uint8_t *refcounts)
{
	const struct q2_clusters *clusters = &work->check->workers[0].clusters;
	uint64_t end = work->check->file_clusters;
	uint64_t inside = cluster >= end        ? 0
			  : end - cluster >= 64 ? UINT64_MAX
						: UINT64_MAX >> (64 - (end - cluster));
	struct q2_refcount_classes classes = work->classify(refcounts);
	struct q2_cluster_chunk *chunk =
		cluster < clusters->cluster_count ? q2_clusters_chunk(clusters, cluster) : NULL;
	uint64_t bits = ~classes.zero, seen = 0;

	if (chunk) {
		unsigned group = (unsigned)(cluster / 64 % Q2_CHUNK_GROUPS);

		bits = chunk->few ? suspects_of_few(work->check, chunk, group, refcounts)
				  : suspects(chunk, group, classes);
		seen = chunk->uses[group][0] | chunk->uses[group][1] | chunk->uses[group][2];
	} else if (count_leaks(worker, cluster, bits & inside))
		bits = 0;
	note_highest(worker, cluster, (~classes.zero & inside) | seen);
	worker->beyond_end += (uint64_t)__builtin_popcountll(~classes.zero & ~inside & ~seen);
	judge_bits(worker, cluster, bits & (inside | seen), refcounts);
}

static void compare_block(struct q2_check_worker *worker, const struct work *work,
			  const struct q2_refcount_block *block)
{
	const struct qcow2_geometry *geometry = work->check->geometry;
	uint64_t left = geometry->file_size_bytes - block->offset_bytes;
	uint64_t first = block->index * geometry->refcount_block_entries;

	/* What the end of the file cuts off reads as zeros. */
	if (left < geometry->cluster_size_bytes)
		memset(worker->buffer + left, 0, (size_t)(geometry->cluster_size_bytes - left));
	for (uint64_t i = 0; i < geometry->refcount_block_entries; i += 64)
		compare_group(worker, work, first + i,
			      worker->buffer + i * geometry->refcount_bits / 8);
}

static bool read_block(struct q2_check_worker *worker, const struct q2_refcount_block *block)
{
	const struct qcow2_check *check = worker->check;
	uint64_t size = check->geometry->file_size_bytes - block->offset_bytes;

	if (size > check->geometry->cluster_size_bytes)
		size = check->geometry->cluster_size_bytes;
	if (qcow2_source_read(qcow2_image_source(check->image), block->offset_bytes, worker->buffer,
			      (size_t)size, &worker->err)) {
		worker->failed = true;
		return false;
	}
	q2_check_digest(worker, block->offset_bytes, worker->buffer, size);
	return true;
}

static bool work_blocks(void *opaque, unsigned number, uint64_t piece)
{
	const struct work *work = opaque;
	struct qcow2_check *check = work->check;
	struct q2_check_worker *worker = &check->workers[number];
	size_t first = (size_t)(piece * work->per_piece);
	size_t last = first + (size_t)work->per_piece;
	uint64_t there = UINT64_MAX;

	for (size_t i = first; i < last && i < work->count && !worker->failed; i++) {
		const struct q2_refcount_block *block = &work->blocks[i];

		if (block->offset_bytes != there && !read_block(worker, block))
			break;
		there = block->offset_bytes;
		compare_block(worker, work, block);
		atomic_fetch_add(&check->done_bytes, check->geometry->cluster_size_bytes);
	}
	return !worker->failed && (number != 0 || q2_check_progress(check));
}

static int by_offset(const void *left, const void *right)
{
	const struct q2_refcount_block *a = left, *b = right;

	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

/*
 * Blocks in holes count nothing, like those that are not there. Those of which all has been told
 * are not read again.
 */
static void list_blocks(struct work *work)
{
	struct qcow2_check *check = work->check;
	struct qcow2_source *source = qcow2_image_source(check->image);

	for (size_t i = 0; i < check->block_count; i++) {
		struct q2_refcount_block *block = &check->blocks[i];

		if (qcow2_source_hole_end(source, block->offset_bytes) - block->offset_bytes >=
		    check->geometry->cluster_size_bytes)
			block->offset_bytes = 0;
		else if (block->index >= check->bad_from / check->geometry->refcount_block_entries)
			work->blocks[work->count++] = *block;
	}
	for (size_t i = 1; i < work->count; i++) {
		if (work->blocks[i - 1].offset_bytes < work->blocks[i].offset_bytes)
			continue;
		qsort(work->blocks, work->count, sizeof(*work->blocks), by_offset);
		break;
	}
}

static int compare_blocks(struct qcow2_check *check)
{
	struct work work = {
		.check = check,
		.classify = q2_classify_choose(check->header->refcount_order),
		.per_piece = Q2_PIECE_BYTES / check->geometry->cluster_size_bytes,
	};
	bool done;

	if (check->block_count == 0)
		return 0;
	work.blocks = q2_memory_get(&check->memory, check->block_count, sizeof(*work.blocks));
	if (!work.blocks)
		return q2_check_fail_memory(check, check->err);
	list_blocks(&work);
	if (work.per_piece == 0)
		work.per_piece = 1;
	check->total_bytes += work.count * check->geometry->cluster_size_bytes;
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = q2_div_ceil_u64(work.count, work.per_piece),
		.threads = work.count > work.per_piece ? check->threads : 1,
		.work = work_blocks,
		.opaque = &work,
	});
	q2_memory_put(&check->memory, work.blocks, check->block_count, sizeof(*work.blocks));
	return done ? 0 : q2_check_worker_failed(check);
}

/* Whether there is a block that counts a cluster; *at is a place in the list that only rises. */
static bool is_counted(const struct qcow2_check *check, uint64_t cluster, size_t *at)
{
	uint64_t index = cluster / check->geometry->refcount_block_entries;

	while (*at < check->block_count && check->blocks[*at].index < index)
		(*at)++;
	return *at < check->block_count && check->blocks[*at].index == index &&
	       check->blocks[*at].offset_bytes != 0;
}

/* Clusters that are referenced but that no block counts: their refcounts are 0. */
static void judge_uncounted(struct qcow2_check *check, uint64_t first, size_t *at)
{
	const struct q2_cluster_chunk *chunk =
		q2_clusters_chunk(&check->workers[0].clusters, first);

	for (unsigned group = 0; group < Q2_CHUNK_GROUPS; group++) {
		const uint64_t *uses = chunk->uses[group];
		uint64_t cluster = first + group * 64, seen = uses[0] | uses[1] | uses[2];

		if (seen == 0 || is_counted(check, cluster, at))
			continue;
		note_highest(&check->workers[0], cluster, seen);
		judge_bits(&check->workers[0], cluster, seen, NULL);
	}
}

static void find_uncounted(struct qcow2_check *check)
{
	const struct q2_clusters *clusters = &check->workers[0].clusters;
	size_t at = 0;

	for (uint64_t i = 0; i < clusters->leaf_count; i++) {
		const struct q2_cluster_leaf *leaf = clusters->leaves[i];

		for (size_t j = 0; leaf && j < Q2_LEAF_CHUNKS; j++)
			if (leaf->chunks[j])
				judge_uncounted(check, (i * Q2_LEAF_CHUNKS + j) * Q2_CHUNK_CLUSTERS,
						&at);
	}
}

int q2_check_refcounts(struct qcow2_check *check)
{
	struct q2_check_worker *all = &check->workers[0];

	if (compare_blocks(check))
		return -1;
	find_uncounted(check);
	for (unsigned i = 1; i < check->threads; i++) {
		struct q2_check_worker *worker = &check->workers[i];

		if (worker->highest_cluster > all->highest_cluster)
			all->highest_cluster = worker->highest_cluster;
		all->beyond_end += worker->beyond_end;
	}
	for (unsigned i = 0; i < check->threads; i++)
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			if (!q2_bad_list_merge(check, &all->bad[kind], kind,
					       &check->workers[i].bad[kind]))
				return q2_check_fail_memory(check, check->err);
	return all->failed ? q2_check_worker_failed(check) : 0;
}
