/* SPDX-License-Identifier: MIT */
/* The public side: opens, drives the parts in their order, and answers. */
#include "usage/usage.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/crew.h"
#include "base/error.h"
#include "base/sized.h"
#include "image/internal.h"

static uint64_t buffer_bytes(const struct qcow2_usage *usage)
{
	return Q2_PIECE_BYTES + usage->geometry->cluster_size_bytes;
}

static int prepare(struct qcow2_usage *usage, struct qcow2_error *err)
{
	struct q2_memory *memory = &usage->memory;
	bool ready;

	q2_metadata_init(&usage->metadata, usage->image, memory, err);
	if (usage->file_clusters >> 48 != 0)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the file has more than 2^48 clusters");
	q2_counted_init(&usage->counted, usage->geometry, memory);
	usage->joiner.states = &usage->states;
	usage->metadata.buffer = q2_memory_get(memory, buffer_bytes(usage), 1);
	ready = usage->metadata.buffer && q2_states_init(&usage->states, memory) &&
		q2_labels_init(&usage->labels, usage->file_clusters, &usage->joiner);
	return ready ? 0 : q2_memory_fail(memory, err);
}

/* Clusters that only claims touch which pass the end of the file. */
static int mark_weak(struct qcow2_usage *usage)
{
	for (size_t i = 0; i < usage->weak_count; i++)
		q2_labels_fill(&usage->labels, usage->weak[i].first, usage->weak[i].count,
			       usage->weak[i].state);
	return usage->labels.failed || usage->joiner.failed
		       ? q2_memory_fail(&usage->memory, usage->metadata.err)
		       : 0;
}

static int run(struct qcow2_usage *usage, struct qcow2_error *err)
{
	if (prepare(usage, err) || q2_usage_gather(usage) || q2_usage_find_sharers(usage) ||
	    q2_usage_mark_l2(usage) || mark_weak(usage) ||
	    q2_counted_read(&usage->counted, usage->image, usage->options.threads, err))
		return -1;
	return q2_usage_sum_up(usage) || q2_usage_count_users(usage) ? -1 : 0;
}

int qcow2_usage_open(const struct qcow2_image *image, const struct qcow2_usage_options *options,
		     struct qcow2_usage **out, struct qcow2_error *err)
{
	struct qcow2_usage_options mine;
	struct qcow2_error ignored;
	struct qcow2_usage *usage;

	if (!err)
		err = &ignored;
	if (q2_sized_take(&mine, sizeof(mine), options, err) || q2_image_check_known(image, err))
		return -1;
	if (mine.threads > Q2_CREW_MAX)
		mine.threads = Q2_CREW_MAX;
	if (mine.threads == 0)
		mine.threads = 1;
	usage = q2_alloc(sizeof(*usage));
	if (!usage)
		return q2_fail_memory(err);
	usage->image = image;
	usage->geometry = qcow2_image_geometry(image);
	usage->options = mine;
	usage->memory = (struct q2_memory){
		.limit_bytes = mine.memory_limit_bytes ? mine.memory_limit_bytes
						       : QCOW2_CLAIMS_MEMORY_BYTES,
		.user = "the layout of the file",
	};
	usage->file_clusters = q2_div_ceil_u64(usage->geometry->file_size_bytes,
					       usage->geometry->cluster_size_bytes);
	if (run(usage, err)) {
		qcow2_usage_close(usage);
		return -1;
	}
	*out = usage;
	return 0;
}

void qcow2_usage_close(struct qcow2_usage *usage)
{
	struct q2_memory *memory;

	if (!usage)
		return;
	memory = &usage->memory;
	q2_usage_release_window(usage);
	q2_memory_put(memory, usage->table_sets, usage->metadata.table_count,
		      sizeof(*usage->table_sets));
	q2_memory_put(memory, usage->metadata.buffer, buffer_bytes(usage), 1);
	q2_metadata_release(&usage->metadata);
	q2_labels_release(&usage->labels);
	q2_states_release(&usage->states);
	q2_counted_release(&usage->counted);
	q2_memory_put(memory, usage->weak, usage->weak_capacity, sizeof(*usage->weak));
	q2_memory_put(memory, usage->users, usage->user_capacity, sizeof(*usage->users));
	q2_memory_put(memory, usage->kinds, usage->label_count, sizeof(*usage->kinds));
	q2_memory_put(memory, usage->clusters, usage->label_count, sizeof(*usage->clusters));
	q2_free(usage);
}

int qcow2_usage_next(struct qcow2_usage *usage, const struct qcow2_usage_run **out,
		     struct qcow2_error *err)
{
	struct qcow2_error ignored;

	usage->metadata.err = err ? err : &ignored;
	if (usage->options.owners)
		return q2_usage_next_owned(usage, out);
	if (!q2_usage_next_run(usage, &usage->told))
		return 0;
	*out = &usage->told;
	return 1;
}

const struct qcow2_usage_total *qcow2_usage_total_of(const struct qcow2_usage *usage,
						     enum qcow2_usage_kind kind)
{
	return (unsigned)kind < QCOW2_USAGE_KINDS ? &usage->totals[kind] : NULL;
}

uint64_t qcow2_usage_file_size_bytes(const struct qcow2_usage *usage)
{
	return usage->geometry->file_size_bytes;
}

uint64_t qcow2_usage_end_bytes(const struct qcow2_usage *usage)
{
	return usage->end_bytes;
}

const char *qcow2_usage_kind_name(enum qcow2_usage_kind kind)
{
	static const char *const names[] = {
		[QCOW2_USAGE_HEADER] = "header",
		[QCOW2_USAGE_REFCOUNT_TABLE] = "refcount-table",
		[QCOW2_USAGE_REFCOUNT_BLOCK] = "refcount-block",
		[QCOW2_USAGE_L1_TABLE] = "l1-table",
		[QCOW2_USAGE_L2_TABLE] = "l2-table",
		[QCOW2_USAGE_DATA] = "data",
		[QCOW2_USAGE_COMPRESSED] = "compressed",
		[QCOW2_USAGE_SNAPSHOT_ONLY] = "snapshot-only",
		[QCOW2_USAGE_SHARED] = "shared",
		[QCOW2_USAGE_SNAPSHOT_TABLE] = "snapshot-table",
		[QCOW2_USAGE_BITMAP_DIRECTORY] = "bitmap-directory",
		[QCOW2_USAGE_BITMAP_TABLE] = "bitmap-table",
		[QCOW2_USAGE_BITMAP_DATA] = "bitmap-data",
		[QCOW2_USAGE_CRYPTO] = "crypto",
		[QCOW2_USAGE_CONFLICT] = "conflict",
		[QCOW2_USAGE_LEAKED] = "leaked",
		[QCOW2_USAGE_FREE] = "free",
		[QCOW2_USAGE_HOLE] = "hole",
	};

	return (unsigned)kind < QCOW2_USAGE_KINDS ? names[kind] : NULL;
}
