/* SPDX-License-Identifier: MIT */
/*
 * Refcounts against the references that there are: every refcount block is read once, by any of the
 * threads. Then come the clusters that no block counts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/crew.h"
#include "check/judge.h"
#include "check/stages.h"
#include "source/ahead.h"

/* Blocks that lie at one place are read once, so the blocks are in the order of their offsets. */
struct work {
	struct q2_check *check;
	struct q2_refcount_block *blocks;
	size_t count;
	q2_classify classify;
	uint64_t per_piece;
	bool cold; /* blocks have to come from the disk */
};

/* How many blocks from first on, and before last, lie one behind the other or at one place. */
static size_t in_a_row(const struct work *work, size_t first, size_t last)
{
	uint64_t cluster = work->check->geometry->cluster_size_bytes;
	size_t i = first + 1;

	while (i < last &&
	       work->blocks[i].offset_bytes - work->blocks[i - 1].offset_bytes <= cluster &&
	       work->blocks[i].offset_bytes - work->blocks[first].offset_bytes < Q2_PIECE_BYTES)
		i++;
	return i - first;
}

/* Tells the system of the blocks of a piece, if they have to come from the disk. */
static void advise(const struct work *work, uint64_t piece)
{
	uint64_t cluster = work->check->geometry->cluster_size_bytes;
	uint64_t at = piece * work->per_piece, last = at + work->per_piece;
	size_t count;

	for (; work->cold && at < last && at < work->count; at += count) {
		count = in_a_row(work, (size_t)at, work->count);
		/* Of what is read in a row, the system finds out by itself that it goes on. */
		if (at > 0 &&
		    work->blocks[at].offset_bytes == work->blocks[at - 1].offset_bytes + cluster)
			continue;
		q2_source_will_need(qcow2_image_source(work->check->image),
				    work->blocks[at].offset_bytes, count * cluster);
	}
}

/* Reads blocks in a row; one that is cut by the end of the file is padded with zeros. */
static bool read_blocks(const struct q2_judge *judge, const struct q2_refcount_block *first,
			const struct q2_refcount_block *last)
{
	const struct q2_check *check = judge->check;
	struct q2_worker *worker = judge->worker;
	uint64_t begin = first->offset_bytes, end = check->geometry->file_size_bytes;
	uint64_t size = last->offset_bytes - begin + check->geometry->cluster_size_bytes;
	uint64_t stored = end - begin < size ? end - begin : size;

	if (qcow2_source_read(qcow2_image_source(check->image), begin, worker->buffer,
			      (size_t)stored, &worker->err)) {
		worker->failed = true;
		return false;
	}
	memset(worker->buffer + stored, 0, (size_t)(size - stored));
	return true;
}

static void judge_blocks(const struct q2_judge *judge, const struct q2_refcount_block *blocks,
			 size_t count)
{
	const struct qcow2_geometry *geometry = judge->check->geometry;
	uint64_t there = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		const struct q2_refcount_block *block = &blocks[i];
		uint64_t stored = geometry->file_size_bytes - block->offset_bytes;
		const uint8_t *bytes =
			judge->worker->buffer + (block->offset_bytes - blocks[0].offset_bytes);

		if (stored > geometry->cluster_size_bytes)
			stored = geometry->cluster_size_bytes;
		if (block->offset_bytes != there)
			q2_worker_digest(judge->worker, block->offset_bytes, bytes, stored);
		there = block->offset_bytes;
		q2_judge_block(judge, block, bytes);
	}
}

static bool work_blocks(void *opaque, unsigned number, uint64_t piece)
{
	const struct work *work = opaque;
	struct q2_check *check = work->check;
	struct q2_worker *worker = &check->workers[number];
	const struct q2_judge judge = {check, worker, work->classify};
	size_t at = (size_t)(piece * work->per_piece), count;
	size_t last =
		work->count - at < work->per_piece ? work->count : at + (size_t)work->per_piece;

	advise(work, piece + Q2_AHEAD);
	for (; at < last && !worker->failed; at += count) {
		const struct q2_refcount_block *first = &work->blocks[at];

		count = in_a_row(work, at, last);
		if (!read_blocks(&judge, first, first + count - 1))
			break;
		judge_blocks(&judge, first, count);
		atomic_fetch_add(&check->done_bytes, count * check->geometry->cluster_size_bytes);
	}
	return !worker->failed && (number != 0 || q2_check_progress(check) == 0);
}

static int by_offset(const void *left, const void *right)
{
	const struct q2_refcount_block *a = left, *b = right;

	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

/*
 * Lists the blocks to read, in the order of their offsets. Blocks in holes count nothing, like
 * those that are not there. Blocks of which everything has been told are not read again.
 */
static void list_blocks(struct work *work)
{
	const struct q2_check *check = work->check;
	uint64_t first = check->bad_from / check->geometry->refcount_block_entries;

	for (size_t i = 0; i < check->block_count; i++)
		if (!check->blocks[i].hole && check->blocks[i].index >= first)
			work->blocks[work->count++] = check->blocks[i];
	for (size_t i = 1; i < work->count; i++) {
		if (work->blocks[i - 1].offset_bytes < work->blocks[i].offset_bytes)
			continue;
		qsort(work->blocks, work->count, sizeof(*work->blocks), by_offset);
		break;
	}
}

static int compare_blocks(struct q2_check *check)
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
		return q2_memory_fail(&check->memory, check->err);
	list_blocks(&work);
	if (work.per_piece == 0)
		work.per_piece = 1;
	work.cold = work.count > 0 && q2_source_is_cold(qcow2_image_source(check->image),
							work.blocks[work.count / 2].offset_bytes);
	for (uint64_t piece = 0; work.cold && piece < Q2_AHEAD; piece++)
		advise(&work, piece);
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

/* Whether there is a block that counts a cluster. Clusters only rise, and *at with them. */
static bool is_counted(const struct q2_check *check, uint64_t cluster, size_t *at)
{
	uint64_t index = cluster / check->geometry->refcount_block_entries;

	while (*at < check->block_count && check->blocks[*at].index < index)
		(*at)++;
	return *at < check->block_count && check->blocks[*at].index == index &&
	       !check->blocks[*at].hole;
}

/* The clusters of a chunk, from first on, that are referenced but that no block counts. */
static void judge_chunk(struct q2_check *check, uint64_t first, size_t *at)
{
	const struct q2_judge judge = {.check = check, .worker = &check->workers[0]};
	const struct q2_cluster_chunk *chunk =
		q2_clusters_chunk(&check->workers[0].clusters, first);

	for (unsigned group = 0; group < Q2_CHUNK_GROUPS; group++) {
		const uint64_t *uses = chunk->uses[group];
		uint64_t cluster = first + group * 64, seen = uses[0] | uses[1] | uses[2];

		if (seen != 0 && !is_counted(check, cluster, at))
			q2_judge_uncounted(&judge, cluster, seen);
	}
}

/*
 * The counters say which clusters are in use: those in chunks that no block counts are judged here.
 */
static void find_uncounted(struct q2_check *check)
{
	const struct q2_clusters *clusters = &check->workers[0].clusters;
	size_t at = 0;

	for (uint64_t i = 0; i < clusters->leaf_count; i++) {
		const struct q2_cluster_leaf *leaf = clusters->leaves[i];

		for (size_t j = 0; leaf && j < Q2_LEAF_CHUNKS; j++)
			if (leaf->chunks[j])
				judge_chunk(check, (i * Q2_LEAF_CHUNKS + j) * Q2_CHUNK_CLUSTERS,
					    &at);
	}
}

/* Gives worker 0 what the others have found. */
static int join_workers(struct q2_check *check)
{
	struct q2_worker *all = &check->workers[0];

	for (unsigned i = 1; i < check->threads; i++) {
		struct q2_worker *worker = &check->workers[i];

		if (worker->highest_cluster > all->highest_cluster)
			all->highest_cluster = worker->highest_cluster;
		all->beyond_end += worker->beyond_end;
		all->unreferenced += worker->unreferenced;
		all->misled |= worker->misled;
	}
	for (unsigned i = 0; i < check->threads; i++)
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			if (!q2_bad_list_merge(&all->bad[kind], &check->workers[i].bad[kind]))
				return q2_memory_fail(&check->memory, check->err);
	if (check->bad_from == 0) {
		check->result->leaked_clusters = all->unreferenced;
		q2_damage_join_workers(check);
	}
	return all->failed ? q2_check_worker_failed(check) : 0;
}

int q2_check_refcounts(struct q2_check *check)
{
	for (unsigned i = 0; i < check->threads; i++)
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			q2_bad_list_init(&check->workers[i].bad[kind], &check->memory,
					 check->bad_left[kind]);
	if (compare_blocks(check))
		return -1;
	find_uncounted(check);
	return join_workers(check);
}
