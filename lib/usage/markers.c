/* SPDX-License-Identifier: MIT */
/* What threads mark, each for itself, so that marking needs no locks. */
#include <stdlib.h>

#include "base/checked.h"
#include "usage/usage.h"

static uint64_t buffer_bytes(const struct q2_marker *marker)
{
	return Q2_PIECE_BYTES + marker->geometry->cluster_size_bytes;
}

bool q2_marker_init(struct q2_marker *marker, struct qcow2_usage *usage)
{
	marker->geometry = usage->geometry;
	marker->memory = &usage->memory;
	marker->joiner.states = &usage->states;
	marker->buffer = q2_memory_get(marker->memory, buffer_bytes(marker), 1);
	return marker->buffer &&
	       q2_labels_init(&marker->labels, usage->file_clusters, &marker->joiner);
}

void q2_marker_release(struct q2_marker *marker)
{
	if (!marker->memory)
		return;
	q2_labels_release(&marker->labels);
	q2_memory_put(marker->memory, marker->weak, marker->weak_capacity, sizeof(*marker->weak));
	q2_memory_put(marker->memory, marker->buffer, buffer_bytes(marker), 1);
}

bool q2_usage_clusters(const struct qcow2_geometry *geometry, const struct qcow2_claim *claim,
		       struct q2_weak_claim *range, bool *is_weak)
{
	const uint64_t size = geometry->file_size_bytes;
	uint64_t end;

	if (claim->length_bytes == 0 || claim->offset_bytes >= size)
		return false;
	if (q2_add_u64(claim->offset_bytes, claim->length_bytes, &end))
		end = UINT64_MAX;
	/* As for the check and QEMU, such a claim refers to nothing. */
	*is_weak = end > size && end - size >= geometry->cluster_size_bytes;
	if (end > size)
		end = size;
	range->first = claim->offset_bytes >> geometry->cluster_bits;
	range->count = ((end - 1) >> geometry->cluster_bits) - range->first + 1;
	return true;
}

static bool fail_memory(struct q2_marker *marker)
{
	if (!marker->failed)
		q2_memory_fail(marker->memory, &marker->err);
	marker->failed = true;
	return false;
}

bool q2_marker_is_short(struct q2_marker *marker)
{
	return (marker->labels.failed || marker->joiner.failed) && !fail_memory(marker);
}

/* Of claims to the same clusters, the earlier one stands. What other threads kept may be earlier. */
static bool keep_weak(struct q2_marker *marker, const struct q2_weak_claim *weak)
{
	struct q2_weak_claim *last =
		marker->weak_count ? &marker->weak[marker->weak_count - 1] : NULL;

	if (last && last->first == weak->first && last->count == weak->count) {
		if (weak->order < last->order)
			*last = *weak;
		return true;
	}
	if (marker->weak_count == marker->weak_capacity &&
	    !q2_memory_grow(marker->memory, (void **)&marker->weak, &marker->weak_capacity,
			    sizeof(*marker->weak)))
		return fail_memory(marker);
	marker->weak[marker->weak_count++] = *weak;
	return true;
}

bool q2_marker_claim(struct q2_marker *marker, const struct qcow2_claim *claim, uint32_t state)
{
	struct q2_weak_claim range = {.order = marker->order, .state = state};
	bool is_weak;

	if (!q2_usage_clusters(marker->geometry, claim, &range, &is_weak))
		return true;
	if (is_weak)
		return keep_weak(marker, &range);
	q2_labels_mark(&marker->labels, range.first, range.count, state);
	return !q2_marker_is_short(marker);
}

static int by_order(const void *left, const void *right)
{
	const struct q2_weak_claim *a = left, *b = right;

	return a->order < b->order ? -1 : a->order > b->order;
}

/* Fills in clusters that only claims touch which pass the end of the file: the first one stands. */
static void fill_weak(struct q2_marker *marker)
{
	if (marker->weak_count > 1)
		qsort(marker->weak, marker->weak_count, sizeof(*marker->weak), by_order);
	for (size_t i = 0; i < marker->weak_count; i++)
		q2_labels_fill(&marker->labels, marker->weak[i].first, marker->weak[i].count,
			       marker->weak[i].state);
}

int q2_markers_join(struct qcow2_usage *usage)
{
	struct q2_marker *all = &usage->markers[0];

	for (unsigned i = 1; i < usage->threads; i++) {
		struct q2_marker *marker = &usage->markers[i];

		q2_labels_merge(&all->labels, &marker->labels);
		for (size_t j = 0; j < marker->weak_count; j++)
			keep_weak(all, &marker->weak[j]);
	}
	fill_weak(all);
	if (all->labels.failed || all->joiner.failed || all->failed)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	return 0;
}
