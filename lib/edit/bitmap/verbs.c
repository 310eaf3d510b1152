/* SPDX-License-Identifier: MIT */
/* Changes bitmaps by name. See bitmap_edit.h. */
#include <string.h>

#include <qcow2/limits.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/ones.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/list.h"
#include "edit/bitmap/named.h"
#include "image/internal.h"
#include "plan/plan.h"

int qcow2_bitmap_add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		     uint64_t granularity, bool enabled, struct qcow2_error *err)
{
	return q2_verb_ended(
		editor,
		q2_verb_about(name, q2_verb_add(editor, name, granularity, enabled, err), err),
		err);
}

static int take_away(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		     struct qcow2_error *err)
{
	size_t at = 0;

	if (q2_verb_find(editor, name, &at, err) ||
	    qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_GONE, name, err) ||
	    q2_bitmap_give_up(editor, editor->bitmaps[at], err))
		return -1;
	q2_bitmap_editor_drop(editor, at);
	return 0;
}

int qcow2_bitmap_remove(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct qcow2_error *err)
{
	return q2_verb_ended(editor, q2_verb_about(name, take_away(editor, name, err), err), err);
}

static int clear(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		 struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;

	return q2_verb_find_usable(editor, name, &bitmap, err) ||
			       q2_bitmap_fill(editor, bitmap, 0, err)
		       ? -1
		       : 0;
}

int qcow2_bitmap_clear(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		       struct qcow2_error *err)
{
	return q2_verb_ended(editor, q2_verb_about(name, clear(editor, name, err), err), err);
}

static int enable(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, bool enabled,
		  struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;
	uint32_t flags;

	if (q2_verb_find_usable(editor, name, &bitmap, err))
		return -1;
	flags = bitmap->entry.flags & ~QCOW2_BITMAP_AUTO;
	if (enabled)
		flags |= QCOW2_BITMAP_AUTO;
	if (flags != bitmap->entry.flags)
		editor->changed = true;
	bitmap->entry.flags = flags;
	return 0;
}

int qcow2_bitmap_enable(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, bool enabled,
			struct qcow2_error *err)
{
	return q2_verb_ended(editor, q2_verb_about(name, enable(editor, name, enabled, err), err),
			     err);
}

int qcow2_bitmap_rename(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct qcow2_bytes new_name, struct qcow2_error *err)
{
	size_t at = 0;

	if (q2_verb_about(name, q2_verb_find(editor, name, &at, err), err) ||
	    q2_verb_about(new_name, q2_verb_check_new_name(editor, new_name, err), err))
		return -1;
	if (qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_GONE, name, err) ||
	    !q2_bitmap_editor_rename(editor, at, new_name))
		return q2_verb_ended(editor, q2_verb_about(name, q2_fail_memory(err), err), err);
	editor->changed = true;
	return 0;
}

/*
 * Sets the bits of what `extents` calls dirty. *is_theirs becomes true if the error is of
 * `extents`: then the caller names the bitmap that they come from.
 */
static int set_extents(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       struct qcow2_dirty_extents *extents, struct qcow2_error *err,
		       bool *is_theirs)
{
	unsigned shift = bitmap->entry.granularity_bits;
	struct qcow2_dirty_extent extent;
	int more;

	while ((more = qcow2_dirty_extents_next(extents, &extent, err)) > 0) {
		uint64_t end = extent.start_bytes + extent.length_bytes;

		if (extent.dirty &&
		    q2_bitmap_set_bits(editor, bitmap, extent.start_bytes >> shift,
				       q2_div_ceil_u64(end, UINT64_C(1) << shift), err))
			return -1;
	}
	*is_theirs = more < 0;
	return more;
}

static int merge_extents(struct qcow2_bitmap_editor *editor, struct qcow2_dirty_extents *extents,
			 struct qcow2_bytes name, struct qcow2_error *err, bool *is_theirs)
{
	struct q2_edited_bitmap *bitmap;
	uint64_t uncertain;

	if (qcow2_dirty_extents_size_bytes(extents) != q2_tracked_bytes(editor->geometry))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the disks that the bitmaps are of have different sizes");
	if (q2_verb_find_usable(editor, name, &bitmap, err) ||
	    q2_bitmap_load(editor, bitmap, NULL, &uncertain, err))
		return -1;
	return set_extents(editor, bitmap, extents, err, is_theirs);
}

int qcow2_bitmap_merge_extents(struct qcow2_bitmap_editor *editor,
			       struct qcow2_dirty_extents *extents, struct qcow2_bytes name,
			       struct qcow2_error *err)
{
	bool is_theirs = false;
	int failed = merge_extents(editor, extents, name, err, &is_theirs);

	return q2_verb_ended(editor, is_theirs ? failed : q2_verb_about(name, failed, err), err);
}

int qcow2_bitmap_merge(struct qcow2_bitmap_editor *editor, struct qcow2_bytes source,
		       struct qcow2_bytes name, struct qcow2_error *err)
{
	struct q2_edited_bitmap *from, *to;
	struct qcow2_dirty_extents *extents;
	bool is_theirs = false;
	int failed;

	if (q2_verb_about(source, q2_verb_find_usable(editor, source, &from, err), err) ||
	    q2_verb_about(name, q2_verb_find_usable(editor, name, &to, err), err))
		return -1;
	if (from == to)
		return 0;
	if (from->entries ? q2_edited_extents(editor, from, &extents, err)
			  : qcow2_dirty_extents_open(editor->image, &from->entry, 0, &extents, err))
		return q2_verb_about(source, -1, err);
	failed = merge_extents(editor, extents, name, err, &is_theirs);
	qcow2_dirty_extents_close(extents);
	return q2_verb_ended(editor, q2_verb_about(is_theirs ? source : name, failed, err), err);
}
