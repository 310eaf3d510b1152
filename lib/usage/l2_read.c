/* SPDX-License-Identifier: MIT */
/* Reads L2 tables: each distinct one once, by any of the threads, in batches. */
#include "base/crew.h"
#include "claims/l2_batches.h"
#include "usage/usage.h"

struct work {
	struct qcow2_usage *usage;
	const struct q2_l2_visitor *visitor;
	struct q2_l2_batches batches;
};

/* All tables of a batch are in the marker's buffer, which starts at the first one. */
static bool visit_batch(const struct work *work, struct q2_marker *marker,
			const struct q2_l2_batch *batch)
{
	const struct q2_l2_ref *tables = work->usage->metadata.tables;

	for (size_t i = batch->first; i < batch->last; i++)
		if (!work->visitor->visit(work->visitor->opaque, marker, i,
					  marker->buffer + (tables[i].offset_bytes -
							    tables[batch->first].offset_bytes)))
			return false;
	return true;
}

static bool work_batch(void *opaque, unsigned number, uint64_t piece)
{
	const struct work *work = opaque;
	struct qcow2_usage *usage = work->usage;
	struct q2_marker *marker = &usage->markers[number];
	size_t size;
	int there = q2_l2_batches_read(&work->batches, (size_t)piece, marker->buffer, &size,
				       &marker->err);

	marker->failed |= there < 0;
	if (there < 0 || (there > 0 && !visit_batch(work, marker, &work->batches.items[piece])))
		return false;
	atomic_fetch_add(&usage->done_bytes, size);
	return !q2_marker_is_short(marker) && (number != 0 || q2_usage_progress(usage) == 0);
}

int q2_usage_tell_failure(const struct qcow2_usage *usage)
{
	for (unsigned i = 0; i < usage->threads; i++)
		if (usage->markers[i].failed) {
			*usage->metadata.err = usage->markers[i].err;
			return -1;
		}
	return usage->stopped ? -1 : 0;
}

int q2_usage_read_l2(struct qcow2_usage *usage, const struct q2_l2_visitor *visitor)
{
	struct work work = {.usage = usage, .visitor = visitor};
	bool done;

	if (usage->metadata.table_count == 0 || usage->geometry->data_file)
		return 0;
	if (!q2_l2_batches_make(&work.batches, &usage->metadata))
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	usage->total_bytes += work.batches.total_bytes;
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = work.batches.count,
		.threads = work.batches.count > 1 ? visitor->threads : 1,
		.work = work_batch,
		.opaque = &work,
	});
	q2_l2_batches_release(&work.batches);
	return done ? 0 : q2_usage_tell_failure(usage);
}
