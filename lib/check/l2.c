/* SPDX-License-Identifier: MIT */
/*
 * L2 tables: each distinct one is read once, by any of the threads, and every host cluster that it
 * refers to is counted as often as L1 entries lead to the table. A table with an entry that breaks
 * a rule is only noted here and reported afterwards, in order.
 */
#include "base/crew.h"
#include "check/l2_table.h"
#include "check/stages.h"
#include "claims/l2_batches.h"

struct work {
	struct q2_check *check;
	struct q2_l2_batches batches;
};

/* All tables of a batch are in worker->buffer, which starts at the first one. */
static void visit_batch(const struct q2_check *check, struct q2_worker *worker,
			const struct q2_l2_batch *batch)
{
	uint64_t start = check->metadata.tables[batch->first].offset_bytes;

	for (size_t i = batch->first; i < batch->last; i++) {
		struct q2_l2_ref *ref = &check->metadata.tables[i];
		const struct q2_l2_table table = {
			.image = check->image,
			.ref = ref,
			.bytes = worker->buffer + (ref->offset_bytes - start),
			.size = q2_metadata_l2_stored(check->geometry, ref->offset_bytes),
		};

		q2_worker_digest(worker, ref->offset_bytes, table.bytes, table.size);
		q2_l2_table_count(&table, worker);
	}
}

static bool work_batch(void *opaque, unsigned number, uint64_t piece)
{
	const struct work *work = opaque;
	struct q2_check *check = work->check;
	struct q2_worker *worker = &check->workers[number];
	size_t size;
	int there = q2_l2_batches_read(&work->batches, (size_t)piece, worker->buffer, &size,
				       &worker->err);

	if (there < 0) {
		worker->failed = true;
		return false;
	}
	if (there > 0)
		visit_batch(check, worker, &work->batches.items[piece]);
	atomic_fetch_add(&check->done_bytes, size);
	if (worker->clusters.failed)
		return q2_worker_fail_memory(worker);
	return number != 0 || q2_check_progress(check) == 0;
}

static int run_batches(struct q2_check *check)
{
	struct work work = {.check = check};
	bool done;

	if (check->metadata.table_count == 0)
		return 0;
	if (!q2_l2_batches_make(&work.batches, &check->metadata))
		return q2_memory_fail(&check->memory, check->err);
	check->total_bytes += work.batches.total_bytes;
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = work.batches.count,
		.threads = work.batches.count > 1 ? check->threads : 1,
		.work = work_batch,
		.opaque = &work,
	});
	q2_l2_batches_release(&work.batches);
	return done ? 0 : q2_check_worker_failed(check);
}

int q2_check_l2_tables(struct q2_check *check)
{
	struct q2_worker *first = &check->workers[0];
	struct q2_clusters *all[Q2_CREW_MAX];

	if (run_batches(check))
		return -1;
	for (unsigned i = 0; i < check->threads; i++) {
		struct q2_worker *worker = &check->workers[i];

		check->result->allocated_clusters += worker->allocated;
		check->result->fragmented_clusters += worker->fragmented;
		check->result->compressed_clusters += worker->compressed;
		all[i] = &worker->clusters;
	}
	q2_clusters_join(all, check->threads, check->threads);
	return first->clusters.failed ? q2_memory_fail(&check->memory, check->err) : 0;
}
