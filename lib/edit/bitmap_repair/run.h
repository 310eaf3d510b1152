/* SPDX-License-Identifier: MIT */
/* One repair of bitmaps: what its parts share, and how they tell the caller what is done. */
#ifndef Q2_EDIT_BITMAP_REPAIR_RUN_H
#define Q2_EDIT_BITMAP_REPAIR_RUN_H

#include "edit/bitmap/editor.h"
#include "edit/bitmap_trust/trust.h"
#include "format/problems.h"

/* One repair. */
struct q2_bitmap_repair_run {
	struct qcow2_bitmap_editor *editor;
	const struct qcow2_bitmap_repair_options *options;
	struct qcow2_bitmap_health *health;
	struct qcow2_error *err;
	bool *found; /* of each name that was asked for */
	struct q2_bitmap_trust *trust;
	const struct q2_bitmap_within *within; /* NULL, or the repair that this one is part of */
	bool undecided;                        /* what the directory says cannot be written again */
	uint64_t needed;                       /* decisions that are missing */
	uint64_t needed_dropped;               /* those of them that assume_dirty cannot make */
	bool stopped;                          /* the callback of the caller wants no more */
	uint64_t unread_bytes; /* of bitmaps that are converted: how many may still be read */
	/* Of the bitmap that is looked at: */
	const struct qcow2_bitmap *bitmap;
	bool kinds[Q2_PROBLEM_NUMBERS];
};

const struct qcow2_problem_kind *q2_bitmap_repair_kind(enum qcow2_problem_id id);

/* Tells the caller what is done about r->bitmap; if that is NULL, about all bitmaps. */
void q2_bitmap_repair_tell(struct q2_bitmap_repair_run *r, const struct qcow2_problem_kind *kind,
			   enum qcow2_bitmap_remedy remedy, uint64_t dirty_bytes, const char *cost);
/* The same, with all members of a treatment but those that say which bitmap it is. */
void q2_bitmap_repair_tell_all(struct q2_bitmap_repair_run *r,
			       struct qcow2_bitmap_treatment treatment);

#endif
