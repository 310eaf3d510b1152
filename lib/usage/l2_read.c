/* SPDX-License-Identifier: MIT */
/* Reads L2 tables: each distinct one once, by any of the threads, in batches. */
#include <string.h>

#include "base/crew.h"
#include "usage/usage.h"

#define ENTRY_MOST_BYTES 16

/* Tables that follow each other closely enough are read at once: [first, last) of the list. */
struct batch {
	size_t first, last;
};

struct work {
	struct qcow2_usage *usage;
	const struct q2_l2_visitor *visitor;
	struct batch *batches;
	size_t count;
};

/* All tables of a batch are in the marker's buffer, which starts at the first one. */
static bool visit_batch(const struct work *work, struct q2_marker *marker,
			const struct batch *batch)
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
	const struct batch *batch = &work->batches[piece];
	const struct qcow2_source *source = qcow2_image_source(usage->image);
	const struct q2_l2_ref *last = &usage->metadata.tables[batch->last - 1];
	const uint64_t start = usage->metadata.tables[batch->first].offset_bytes;
	const size_t size = (size_t)(last->offset_bytes - start +
				     q2_metadata_l2_stored(usage->geometry, last->offset_bytes));

	/* A hole has no entries. */
	if (qcow2_source_hole_end(source, start) - start < size) {
		marker->failed = qcow2_source_read(qcow2_image_source(usage->image), start,
						   marker->buffer, size, &marker->err) != 0;
		/* An entry cut by the end of the file is padded with zeros. */
		memset(marker->buffer + size, 0, ENTRY_MOST_BYTES);
		if (marker->failed || !visit_batch(work, marker, batch))
			return false;
	}
	atomic_fetch_add(&usage->done_bytes, size);
	return !q2_marker_is_short(marker) && (number != 0 || q2_usage_progress(usage) == 0);
}

/* Cuts the list of tables into batches of at most a piece each; NULL if memory is short. */
static struct batch *make_batches(struct qcow2_usage *usage, size_t *count)
{
	const struct q2_l2_ref *tables = usage->metadata.tables;
	const uint64_t cluster = usage->geometry->cluster_size_bytes;
	const uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;
	struct batch *batches =
		q2_memory_get(&usage->memory, usage->metadata.table_count, sizeof(*batches));

	*count = 0;
	for (size_t i = 0; batches && i < usage->metadata.table_count; i++) {
		struct batch *batch = *count ? &batches[*count - 1] : NULL;

		usage->total_bytes +=
			q2_metadata_l2_stored(usage->geometry, tables[i].offset_bytes);
		if (batch && tables[i].offset_bytes - tables[i - 1].offset_bytes <= cluster &&
		    tables[i].offset_bytes + cluster - tables[batch->first].offset_bytes <= most)
			batch->last = i + 1;
		else
			batches[(*count)++] = (struct batch){i, i + 1};
	}
	return batches;
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
	work.batches = make_batches(usage, &work.count);
	if (!work.batches)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = work.count,
		.threads = work.count > 1 ? visitor->threads : 1,
		.work = work_batch,
		.opaque = &work,
	});
	q2_memory_put(&usage->memory, work.batches, usage->metadata.table_count,
		      sizeof(*work.batches));
	return done ? 0 : q2_usage_tell_failure(usage);
}
