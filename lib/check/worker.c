/* SPDX-License-Identifier: MIT */
/* See worker.h. */
#include "check/worker.h"

#include "base/checked.h"
#include "check/references.h"

bool q2_worker_fail_memory(struct q2_worker *worker)
{
	worker->failed = true;
	q2_memory_fail(worker->memory, &worker->err);
	return false;
}

void q2_worker_fail(struct q2_worker *worker, const struct qcow2_error *err)
{
	if (!worker->failed)
		worker->err = *err;
	worker->failed = true;
}

/* A hostile image may have very many structures that pass its end by far. */
#define BEYOND_STEPS_MOST (UINT64_C(1) << 26)

/* The clusters [first, end), as far as they are past the end of the file and noted at all. */
static void note_beyond(struct q2_worker *worker, uint64_t first, uint64_t end)
{
	const struct qcow2_geometry *geometry = worker->geometry;
	uint64_t file = q2_div_ceil_u64(geometry->file_size_bytes, geometry->cluster_size_bytes);

	if (!worker->noting_beyond)
		return;
	if (first < file)
		first = file;
	if (end > file + Q2_BEYOND_CLUSTERS)
		end = file + Q2_BEYOND_CLUSTERS;
	if (first < end)
		worker->beyond_steps += end - first;
	if (worker->beyond_steps > BEYOND_STEPS_MOST)
		worker->beyond.failed = true;
	for (; first < end && !worker->beyond.failed; first++)
		q2_bits_add(&worker->beyond, first);
}

void q2_worker_note_beyond(struct q2_worker *worker, uint64_t offset_bytes)
{
	uint64_t cluster = offset_bytes >> worker->geometry->cluster_bits;

	/* Whatever starts inside of a cluster reaches into the next. */
	note_beyond(worker, cluster,
		    cluster + (offset_bytes % worker->geometry->cluster_size_bytes ? 2 : 1));
}

void q2_worker_count(struct q2_worker *worker, const struct qcow2_claim *claim)
{
	const struct qcow2_geometry *geometry = worker->geometry;
	unsigned bits = geometry->cluster_bits;
	uint64_t end, first = claim->offset_bytes >> bits;

	if (claim->length_bytes == 0 || q2_add_u64(claim->offset_bytes, claim->length_bytes, &end))
		return;
	if (end > geometry->file_size_bytes &&
	    end - geometry->file_size_bytes >= geometry->cluster_size_bytes) {
		note_beyond(worker, first, ((end - 1) >> bits) + 1);
		return;
	}
	q2_clusters_mark(&worker->clusters, first, ((end - 1) >> bits) - first + 1, claim->use,
			 claim->weight);
	/* A short file may end before the last cluster of what passes its end by little. */
	if (end > geometry->file_size_bytes)
		note_beyond(worker, first, ((end - 1) >> bits) + 1);
}
