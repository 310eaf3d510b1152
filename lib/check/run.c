/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "check/run.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/crew.h"
#include "base/error.h"
#include "base/search.h"

_Static_assert(QCOW2_CHECK_THREADS_MAX == Q2_CREW_MAX, "one limit of threads");

#define CLUSTER_MOST_BYTES (UINT64_C(2) << 20)
/* The most bytes that metadata may claim beyond what the file stores. */
#define CLAIMS_SLACK_BYTES (UINT64_C(4) << 30)

static uint64_t buffer_bytes(const struct q2_check *check)
{
	return Q2_PIECE_BYTES + check->geometry->cluster_size_bytes;
}

/*
 * Each thread has a buffer, and notes single references in bitsets of its own, at worst a bit for
 * each cluster of the file. Threads share half of the memory limit, so that a machine with many
 * processors does not fail where one with few succeeds.
 */
static uint64_t threads_in_memory(const struct q2_check *check)
{
	uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(check->image));
	uint64_t bits = check->file_clusters / 8;

	return check->memory.limit_bytes / 2 /
	       (buffer_bytes(check) + (bits < stored ? bits : stored));
}

static unsigned choose_threads(const struct q2_check *check)
{
	uint64_t wanted = check->options->threads, most = threads_in_memory(check);

	/* Each has buffers of a cluster: what is larger than QEMU allows is not worth several. */
	if (check->geometry->cluster_size_bytes > CLUSTER_MOST_BYTES)
		return 1;
	if (wanted == 0)
		wanted = qcow2_processors();
	if (wanted > most)
		wanted = most;
	if (wanted > QCOW2_CHECK_THREADS_MAX)
		wanted = QCOW2_CHECK_THREADS_MAX;
	return wanted ? (unsigned)wanted : 1;
}

static bool start_worker(struct q2_check *check, struct q2_worker *worker)
{
	worker->geometry = check->geometry;
	worker->memory = &check->memory;
	worker->damaged.memory = &check->damage.memory;
	worker->beyond.memory = &check->memory;
	worker->tallying = check->header->nb_snapshots > 0;
	worker->noting_beyond = check->keeps;
	worker->digesting = check->options->digest;
	worker->buffer = q2_memory_get(&check->memory, buffer_bytes(check), 1);
	/* The last cluster may be cut, and a compressed one may end in the next. */
	return q2_clusters_init(&worker->clusters, check->file_clusters + 2, &check->memory) &&
	       worker->buffer;
}

int q2_check_start(struct q2_check *check)
{
	check->file_clusters = q2_div_ceil_u64(check->geometry->file_size_bytes,
					       check->geometry->cluster_size_bytes);
	if (check->file_clusters >> 48 != 0)
		return q2_fail(check->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the file has more than 2^48 clusters");
	check->claims_left =
		qcow2_source_allocated_bytes(qcow2_image_source(check->image)) + CLAIMS_SLACK_BYTES;
	check->threads = choose_threads(check);
	check->workers = q2_memory_get(&check->memory, check->threads, sizeof(*check->workers));
	if (!check->workers)
		return q2_memory_fail(&check->memory, check->err);
	for (unsigned i = 0; i < check->threads; i++)
		if (!start_worker(check, &check->workers[i]))
			return q2_memory_fail(&check->memory, check->err);
	q2_metadata_init(&check->metadata, check->image, &check->memory, check->err);
	check->metadata.buffer = check->workers[0].buffer;
	return 0;
}

void q2_check_release(struct q2_check *check)
{
	for (unsigned i = 0; check->workers && i < check->threads; i++) {
		struct q2_worker *worker = &check->workers[i];

		if (worker->clusters.memory)
			q2_clusters_release(&worker->clusters);
		q2_free(worker->buffer);
		q2_bits_release(&worker->beyond);
		for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
			q2_bad_list_release(&worker->bad[kind]);
	}
	if (check->metadata.memory)
		q2_metadata_release(&check->metadata);
	q2_free(check->workers);
	q2_free(check->blocks);
}

const struct q2_refcount_block *q2_check_block(const struct q2_check *check, uint64_t index)
{
	return q2_rising_find(
		Q2_RISING(check->blocks, check->block_count, struct q2_refcount_block, index),
		index);
}

void q2_check_tell(struct q2_check *check, const struct qcow2_problem *problem)
{
	if (!check->stopped)
		check->stopped = check->options->problem(check->options->opaque, problem) != 0;
}

int q2_check_fail_stopped(struct q2_check *check)
{
	return q2_fail(check->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped");
}

int q2_check_progress(struct q2_check *check)
{
	uint64_t done = check->done_bytes;

	if (!check->stopped &&
	    (!check->options->progress ||
	     !check->options->progress(check->options->opaque, done,
				       done > check->total_bytes ? done : check->total_bytes)))
		return 0;
	return q2_check_fail_stopped(check);
}

int q2_check_worker_failed(struct q2_check *check)
{
	for (unsigned i = 0; i < check->threads; i++) {
		if (!check->workers[i].failed)
			continue;
		*check->err = check->workers[i].err;
		return -1;
	}
	return -1; /* progress has filled it */
}
