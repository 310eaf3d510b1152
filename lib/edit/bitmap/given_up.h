/* SPDX-License-Identifier: MIT */
/*
 * Clusters that bitmaps had and that the planned image refers to no longer. They are freed at the
 * end of a plan, or used again where a device is full; both only as far as a check of the planned
 * image shows that nothing else refers to them, since a damaged table may name any cluster.
 */
#ifndef Q2_EDIT_BITMAP_GIVEN_UP_H
#define Q2_EDIT_BITMAP_GIVEN_UP_H

#include "check/check.h"
#include "edit/bitmap/editor.h"

/* Allocates nothing. */
void q2_given_up_init(struct q2_vector *clusters);

/*
 * Gives up the table and the data of a stored bitmap, which counts as not stored from then on. A
 * table that a repair does not trust gives up nothing. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_bitmap_give_up(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_error *err);

/* Gives up all clusters that have bytes in a range, as far as the file has them. */
int q2_give_up_clusters(struct qcow2_bitmap_editor *editor, uint64_t offset_bytes,
			uint64_t size_bytes, struct qcow2_error *err);

/* Sorts cluster numbers, so that q2_clusters_have() can search them. */
void q2_clusters_sort(struct q2_vector *clusters);
bool q2_clusters_have(const struct q2_vector *clusters, uint64_t cluster);

/*
 * Checks the image that `plan` leaves, and tells `leak` of each cluster that `wants` chooses and
 * that is counted more often than it is referred to: problem->found and ->expected say how often.
 * *totals is that of the check. Errors: those of qcow2_check().
 */
struct q2_leak_search {
	bool (*wants)(const void *opaque, uint64_t cluster);
	qcow2_problem_callback leak;
	void *opaque;
};
int q2_find_leaks(struct qcow2_plan *plan, const struct q2_leak_search *search,
		  struct q2_check_totals *totals, struct qcow2_error *err);

#endif
