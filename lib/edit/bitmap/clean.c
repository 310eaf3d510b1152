/* SPDX-License-Identifier: MIT */
/* See clean.h. */
#include "edit/bitmap/clean.h"

#include "edit/bitmap/given_up.h"
#include "plan/allocator.h"

/* What hears of leaks, and sets refcounts right. */
struct clearing {
	struct qcow2_bitmap_editor *editor;
	struct qcow2_error *err;
	bool failed;
};

/*
 * Whether a leak of that cluster is this plan's to free: the cluster was given up, or it lies past
 * the old end of the file and was counted there before the file grew over it.
 */
static bool may_free(const void *opaque, uint64_t cluster)
{
	const struct clearing *clearing = opaque;
	const struct qcow2_bitmap_editor *editor = clearing->editor;

	return cluster << editor->geometry->cluster_bits >= editor->geometry->file_size_bytes ||
	       q2_clusters_have(&editor->given_up, cluster);
}

/* Sets the refcount of a leaked cluster to the number of its references. */
static int hear_leak(void *opaque, const struct qcow2_problem *problem)
{
	struct clearing *clearing = opaque;
	struct qcow2_bitmap_editor *editor = clearing->editor;
	uint64_t cluster = problem->cluster_offset_bytes >> editor->geometry->cluster_bits;

	if (clearing->failed)
		return 0;
	if (q2_allocator_set(editor->allocator, cluster, problem->expected, clearing->err))
		clearing->failed = true;
	return 0;
}

int q2_bitmaps_clean(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	struct clearing clearing = {.editor = editor, .err = err};
	const struct q2_leak_search search = {may_free, hear_leak, &clearing};
	struct q2_check_totals totals;
	uint64_t offset, clusters;

	if (q2_allocator_moved_table(editor->allocator, &offset, &clusters) &&
	    q2_give_up_clusters(editor, offset, clusters << editor->geometry->cluster_bits, err))
		return -1;
	if (editor->given_up.count == 0 &&
	    qcow2_plan_size_bytes(editor->plan) <= editor->geometry->file_size_bytes)
		return 0;
	q2_clusters_sort(&editor->given_up);
	if (q2_find_leaks(editor->plan, &search, &totals, err) || clearing.failed)
		return -1;
	return q2_allocator_plan(editor->allocator, QCOW2_PHASE_CLEAN, err);
}
