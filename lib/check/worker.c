/* SPDX-License-Identifier: MIT */
/* See worker.h. */
#include "check/worker.h"

#include "base/checked.h"

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

void q2_worker_count(struct q2_worker *worker, const struct qcow2_claim *claim)
{
	const struct qcow2_geometry *geometry = worker->geometry;
	unsigned bits = geometry->cluster_bits;
	uint64_t end, first = claim->offset_bytes >> bits;

	if (claim->length_bytes == 0 ||
	    q2_add_u64(claim->offset_bytes, claim->length_bytes, &end) ||
	    (end > geometry->file_size_bytes &&
	     end - geometry->file_size_bytes >= geometry->cluster_size_bytes))
		return;
	q2_clusters_mark(&worker->clusters, first, ((end - 1) >> bits) - first + 1, claim->use,
			 claim->weight);
}
