/* SPDX-License-Identifier: MIT */
/*
 * What a check looks at in leaked clusters, to find mappings that were lost. Those that read as L2
 * tables are metadata. Of the others it only wants to know whether they hold anything: they get a
 * mark instead of what they hold, which may be guest data.
 */
#include <stdlib.h>

#include "capture/gather.h"

#include <qcow2/claims.h>
#include <qcow2/geometry.h>
#include <qcow2/usage.h>

/* What is read of a cluster at once, until something is found. */
#define PIECE_BYTES ((size_t)64 << 10)

struct hearing {
	struct capture_content *content;
	uint64_t cluster_size_bytes, file_size_bytes;
};

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct hearing *hearing = opaque;
	struct capture_content *content = hearing->content;

	if (problem->kind->number != QCOW2_PROBLEM_L2_TABLE_ORPHANED &&
	    problem->kind->number != QCOW2_PROBLEM_L2_TABLE_FREED)
		return 0;
	content->orphan_tables++;
	capture_ranges_add(&content->metadata, problem->cluster_offset_bytes,
			   hearing->cluster_size_bytes, hearing->file_size_bytes);
	return content->metadata.failed;
}

/* Sets *holds to whether any byte of [at, end) is not 0. */
static int look(struct qcow2_source *source, uint64_t at, uint64_t end, uint8_t *piece, bool *holds,
		struct qcow2_error *err)
{
	*holds = false;
	while (at < end && !*holds) {
		const uint64_t data = qcow2_source_hole_end(source, at);
		size_t size = PIECE_BYTES;

		if (data > at) {
			at = data;
			continue;
		}
		if (size > end - at)
			size = (size_t)(end - at);
		if (qcow2_source_read(source, at, piece, size, err))
			return -1;
		for (size_t i = 0; i < size && !*holds; i++)
			*holds = piece[i] != 0;
		at += size;
	}
	return 0;
}

/* Marks those clusters of a run that hold something, up to *left of them. */
static int mark_run(const struct qcow2_image *image, const struct qcow2_usage_run *run,
		    struct capture_content *content, uint64_t *left, uint8_t *piece,
		    struct qcow2_error *err)
{
	const uint64_t cluster = qcow2_image_geometry(image)->cluster_size_bytes;
	const uint64_t run_end = run->start.byte + run->length_bytes;
	struct qcow2_source *source = qcow2_image_source(image);

	for (uint64_t at = run->start.byte, next; at<run_end && * left> 0; at = next) {
		const uint64_t end = run_end - at < cluster ? run_end : at + cluster;
		const uint64_t data = qcow2_source_hole_end(source, at);
		bool holds;

		/* The clusters of a hole are passed at once. */
		next = end;
		if (data >= end && data < run_end)
			next = at + (data - at) / cluster * cluster;
		else if (data >= end)
			return 0;
		if (data >= end || capture_ranges_touch(&content->metadata, at, end))
			continue;
		if (look(source, at, end, piece, &holds, err))
			return -1;
		*left -= holds;
		if (holds)
			capture_ranges_add(&content->marks, at, CAPTURE_MARK_BYTES, end);
	}
	return 0;
}

/* Marks as many leaked clusters as the check found to hold something, in the order of the file. */
static int mark(const struct qcow2_image *image, const struct capture_wanted *wanted,
		struct capture_content *content, uint64_t left, struct qcow2_error *err)
{
	const struct qcow2_usage_options how = {.size = sizeof(how),
						.memory_limit_bytes = wanted->memory_limit_bytes,
						.threads = wanted->threads};
	const struct qcow2_usage_run *run;
	struct qcow2_usage *usage = NULL;
	uint8_t *piece = malloc(PIECE_BYTES);
	int more = 1;

	if (!piece)
		return capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	if (qcow2_usage_open(image, &how, &usage, err))
		more = -1;
	while (more > 0 && left > 0 && (more = qcow2_usage_next(usage, &run, err)) > 0)
		if (run->kind == QCOW2_USAGE_LEAKED &&
		    mark_run(image, run, content, &left, piece, err))
			more = -1;
	qcow2_usage_close(usage);
	free(piece);
	return more < 0 ? -1 : 0;
}

int capture_gather_leaks(const struct qcow2_image *image, const struct capture_wanted *wanted,
			 struct capture_content *content, struct qcow2_error *err)
{
	struct hearing hearing = {content, qcow2_image_geometry(image)->cluster_size_bytes,
				  qcow2_source_size_bytes(qcow2_image_source(image))};
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = wanted->threads,
		.memory_limit_bytes = wanted->memory_limit_bytes,
		/* A deep check finds tables in free clusters, too. */
		.only = wanted->compressed
				? NULL
				: qcow2_problem_kind_get(QCOW2_PROBLEM_L2_TABLE_ORPHANED),
		.deep = wanted->compressed,
		.problem = hear_problem,
		.opaque = &hearing,
		.lost_mappings = true,
		.clusters_untold = true,
	};
	struct qcow2_check_result *result = NULL;
	int failed = qcow2_check(image, &how, &result, err);

	if (failed && content->metadata.failed)
		return capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	if (failed)
		return -1;
	content->has_problems = true;
	content->corruptions = result->corruptions;
	content->leaks = result->leaks;
	content->warnings = result->warnings;
	capture_ranges_settle(&content->metadata);
	if (result->leaks_with_content > 0)
		failed = mark(image, wanted, content, result->leaks_with_content, err);
	qcow2_check_result_free(result);
	return failed;
}
