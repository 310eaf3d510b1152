/* SPDX-License-Identifier: MIT */
/* The doctor's parts: one bitmap, the names of all, the directory. See bitmap_repair.c. */
#ifndef QCOW2_EDIT_BITMAP_REPAIR_H
#define QCOW2_EDIT_BITMAP_REPAIR_H

#include "edit/bitmap_editor.h"
#include "edit/bitmap_trust.h"

/* One repair. */
struct qcow2_repair {
	struct qcow2_bitmap_editor *editor;
	const struct qcow2_bitmap_repair_options *options;
	struct qcow2_bitmap_health *health;
	struct qcow2_error *err;
	bool *found; /* of each name that was asked for */
	struct qcow2_bitmap_trust *trust;
	uint64_t needed,
		needed_dropped; /* decisions; those of them that assume_dirty is none for */
	uint64_t unread_bytes;  /* of bitmaps that are converted: so many more may be read */
	/* Of the bitmap that is looked at: */
	const struct qcow2_bitmap *bitmap;
	bool kinds[QCOW2_PROBLEM_COUNT];
};

const struct qcow2_problem_kind *qcow2_repair_kind(enum qcow2_problem_id id);

/* Tells the caller what is done about the bitmap that is looked at, or, if there is none, about
 * all. */
void qcow2_repair_tell(struct qcow2_repair *r, const struct qcow2_problem_kind *kind,
		       enum qcow2_bitmap_remedy remedy, uint64_t dirty_bytes, const char *cost);
/* The same, with all members but those that say which bitmap it is. */
void qcow2_repair_tell_all(struct qcow2_repair *r, struct qcow2_bitmap_treatment treatment);

/* Whether a bitmap can be made all dirty, so that QEMU takes it. */
bool qcow2_repair_can_be_dirty(const struct qcow2_repair *r,
			       const struct qcow2_bitmap_dir_entry *entry);

/* Does what is to be done about r->bitmap, which is the last of the editor's list now. */
int qcow2_repair_bitmap(struct qcow2_repair *r);

/* Gives bitmaps whose names cannot stay other ones. */
int qcow2_repair_names(struct qcow2_repair *r);

/*
 * Reads the bitmaps that are planned, and fails if a bit of one that can be relied on is clean and
 * may have been dirty. The editor has finished.
 */
int qcow2_repair_judge(struct qcow2_repair *r);

#endif
