/* SPDX-License-Identifier: MIT */
/* The public side: opens, drives the parts in their order, and answers. */
#include "usage/usage.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/crew.h"
#include "base/error.h"
#include "base/sized.h"
#include "image/internal.h"

/* Runs that share a walk which finds their owners: 44 MiB. The memory limit may allow fewer. */
#define WINDOW_RUNS_MOST (UINT64_C(1) << 20)
/* Tables of larger clusters, which QEMU does not know, are not worth several buffers. */
#define CLUSTER_MOST_BYTES (UINT64_C(2) << 20)

/*
 * Each thread has a buffer and labels of its own, at worst a byte for each cluster of the file.
 * Threads share half of the memory limit, so that a machine with many processors does not fail where
 * one with few succeeds.
 */
static unsigned choose_threads(const struct qcow2_usage *usage)
{
	const uint64_t stored = qcow2_source_allocated_bytes(qcow2_image_source(usage->image));
	const uint64_t labels = usage->file_clusters < stored ? usage->file_clusters : stored;
	const uint64_t each = Q2_PIECE_BYTES + usage->geometry->cluster_size_bytes + labels;
	const uint64_t most = usage->memory.limit_bytes / 2 / each;
	uint64_t wanted = usage->options.threads;

	if (usage->geometry->cluster_size_bytes > CLUSTER_MOST_BYTES)
		return 1;
	if (wanted == 0)
		wanted = qcow2_processors();
	if (wanted > most)
		wanted = most;
	if (wanted > Q2_CREW_MAX)
		wanted = Q2_CREW_MAX;
	return wanted ? (unsigned)wanted : 1;
}

static int prepare(struct qcow2_usage *usage, struct qcow2_error *err)
{
	struct q2_memory *memory = &usage->memory;

	q2_metadata_init(&usage->metadata, usage->image, memory, err);
	if (usage->file_clusters >> 48 != 0)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the file has more than 2^48 clusters");
	q2_counted_init(&usage->counted, usage->geometry, memory);
	usage->threads = choose_threads(usage);
	usage->markers = q2_memory_get(memory, usage->threads, sizeof(*usage->markers));
	if (!usage->markers || !q2_states_init(&usage->states, memory))
		return q2_memory_fail(memory, err);
	for (unsigned i = 0; i < usage->threads; i++)
		if (!q2_marker_init(&usage->markers[i], usage))
			return q2_memory_fail(memory, err);
	usage->metadata.buffer = usage->markers[0].buffer;
	return 0;
}

/* The other threads are through. */
static void release_others(struct qcow2_usage *usage)
{
	for (unsigned i = 1; usage->markers && i < usage->threads; i++) {
		q2_marker_release(&usage->markers[i]);
		usage->markers[i].memory = NULL;
	}
}

static int run(struct qcow2_usage *usage, struct qcow2_error *err)
{
	if (prepare(usage, err) || q2_usage_gather(usage) || q2_usage_find_sharers(usage) ||
	    q2_usage_mark_l2(usage) || q2_markers_join(usage))
		return -1;
	release_others(usage);
	if (q2_counted_read(&usage->counted, usage->image, usage->threads, err))
		return -1;
	if (q2_usage_sum_up(usage) || q2_usage_count_users(usage))
		return -1;
	if (usage->options.fragmentation)
		usage->survey_failed = q2_survey_disk(usage->image, usage->threads, &usage->survey,
						      &usage->survey_error) != 0;
	return 0;
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
	usage = q2_alloc(sizeof(*usage));
	if (!usage)
		return q2_fail_memory(err);
	usage->image = image;
	usage->geometry = qcow2_image_geometry(image);
	usage->options = mine;
	usage->window_runs_most = WINDOW_RUNS_MOST;
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
	release_others(usage);
	if (usage->markers)
		q2_marker_release(&usage->markers[0]);
	q2_memory_put(memory, usage->markers, usage->threads, sizeof(*usage->markers));
	q2_metadata_release(&usage->metadata);
	q2_states_release(&usage->states);
	q2_counted_release(&usage->counted);
	q2_memory_put(memory, usage->users, usage->user_capacity, sizeof(*usage->users));
	q2_memory_put(memory, usage->held_clusters, q2_usage_changes(usage),
		      sizeof(*usage->held_clusters));
	q2_memory_put(memory, usage->kinds, usage->label_count, sizeof(*usage->kinds));
	q2_memory_put(memory, usage->clusters, usage->label_count, sizeof(*usage->clusters));
	q2_free(usage);
}

int qcow2_usage_next(struct qcow2_usage *usage, const struct qcow2_usage_run **out,
		     struct qcow2_error *err)
{
	struct qcow2_error ignored;

	usage->metadata.err = err ? err : &ignored;
	*out = &usage->told;
	if (usage->options.owners)
		return q2_usage_next_owned(usage);
	return q2_usage_next_run(usage, &usage->told);
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

int q2_usage_survey(const struct qcow2_usage *usage, struct q2_survey *out, struct qcow2_error *err)
{
	if (!usage->options.fragmentation)
		return q2_survey_disk(usage->image, usage->threads, out, err);
	*out = usage->survey;
	if (usage->survey_failed && err)
		*err = usage->survey_error;
	return usage->survey_failed ? -1 : 0;
}

int qcow2_usage_fragmentation(const struct qcow2_usage *usage, struct qcow2_fragmentation *out,
			      struct qcow2_error *err)
{
	struct q2_survey survey;

	if (q2_sized_check(out, err))
		return -1;
	if (!usage->options.fragmentation)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the usage was opened without the fragmentation");
	if (q2_usage_survey(usage, &survey, err))
		return -1;
	q2_sized_give(out, &survey.sums, sizeof(survey.sums));
	return 0;
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
