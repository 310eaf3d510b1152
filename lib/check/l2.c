/* SPDX-License-Identifier: MIT */
/*
 * L2 tables: each distinct one is read once, by any of the threads, and every host cluster that it
 * refers to is counted as often as L1 entries lead to the table. A table with an entry that breaks
 * a rule is only noted here and reported afterwards, in order.
 */
#include <string.h>

#include "base/crew.h"
#include "check/l2_table.h"
#include "check/stages.h"

#define ENTRY_MOST_BYTES 16

/* Tables that follow each other closely enough are read at once: [first, last) of the list. */
struct batch {
	size_t first, last;
};

struct work {
	struct q2_check *check;
	struct batch *batches;
	size_t count;
};

static uint64_t table_bytes(const struct q2_check *check, const struct q2_l2_ref *ref)
{
	return q2_metadata_l2_stored(check->geometry, ref->offset_bytes);
}

/* All tables of a batch are in worker->buffer, which starts at the first one. */
static void visit_batch(const struct q2_check *check, struct q2_worker *worker,
			const struct batch *batch)
{
	uint64_t start = check->metadata.tables[batch->first].offset_bytes;

	for (size_t i = batch->first; i < batch->last; i++) {
		struct q2_l2_ref *ref = &check->metadata.tables[i];
		const struct q2_l2_table table = {
			.image = check->image,
			.ref = ref,
			.bytes = worker->buffer + (ref->offset_bytes - start),
			.size = table_bytes(check, ref),
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
	const struct batch *batch = &work->batches[piece];
	struct qcow2_source *source = qcow2_image_source(check->image);
	uint64_t start = check->metadata.tables[batch->first].offset_bytes;
	const struct q2_l2_ref *last = &check->metadata.tables[batch->last - 1];
	size_t size = (size_t)(last->offset_bytes - start + table_bytes(check, last));

	/* A hole has no entries. */
	if (qcow2_source_hole_end(source, start) - start < size) {
		if (qcow2_source_read(source, start, worker->buffer, size, &worker->err)) {
			worker->failed = true;
			return false;
		}
		/* An entry cut by the end of the file is padded with zeros. */
		memset(worker->buffer + size, 0, ENTRY_MOST_BYTES);
		visit_batch(check, worker, batch);
	}
	atomic_fetch_add(&check->done_bytes, size);
	if (worker->clusters.failed)
		return q2_worker_fail_memory(worker);
	return number != 0 || q2_check_progress(check) == 0;
}

/* Cuts the list of tables into batches of at most a piece each; NULL if memory is short. */
static struct batch *make_batches(struct q2_check *check, size_t *count)
{
	struct batch *batches =
		q2_memory_get(&check->memory, check->metadata.table_count, sizeof(*batches));
	uint64_t cluster = check->geometry->cluster_size_bytes;
	uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;

	*count = 0;
	for (size_t i = 0; batches && i < check->metadata.table_count; i++) {
		const struct q2_l2_ref *ref = &check->metadata.tables[i];
		struct batch *batch = *count ? &batches[*count - 1] : NULL;
		const struct q2_l2_ref *before = i ? &check->metadata.tables[i - 1] : NULL;

		check->total_bytes += table_bytes(check, ref);
		if (batch && ref->offset_bytes - before->offset_bytes <= cluster &&
		    ref->offset_bytes + cluster -
				    check->metadata.tables[batch->first].offset_bytes <=
			    most)
			batch->last = i + 1;
		else
			batches[(*count)++] = (struct batch){i, i + 1};
	}
	return batches;
}

static int run_batches(struct q2_check *check)
{
	struct work work = {.check = check};
	bool done;

	if (check->metadata.table_count == 0)
		return 0;
	work.batches = make_batches(check, &work.count);
	if (!work.batches)
		return q2_memory_fail(&check->memory, check->err);
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = work.count,
		.threads = work.count > 1 ? check->threads : 1,
		.work = work_batch,
		.opaque = &work,
	});
	q2_memory_put(&check->memory, work.batches, check->metadata.table_count,
		      sizeof(*work.batches));
	return done ? 0 : q2_check_worker_failed(check);
}

int q2_check_l2_tables(struct q2_check *check)
{
	struct q2_worker *first = &check->workers[0];

	if (run_batches(check))
		return -1;
	for (unsigned i = 0; i < check->threads; i++) {
		struct q2_worker *worker = &check->workers[i];

		check->result->allocated_clusters += worker->allocated;
		check->result->fragmented_clusters += worker->fragmented;
		check->result->compressed_clusters += worker->compressed;
		if (i > 0)
			q2_clusters_merge(&first->clusters, &worker->clusters);
	}
	for (unsigned i = 0; i < check->threads; i++)
		q2_clusters_fold(&first->clusters, &check->workers[i].clusters);
	return first->clusters.failed ? q2_memory_fail(&check->memory, check->err) : 0;
}
