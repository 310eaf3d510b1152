/* SPDX-License-Identifier: MIT */
/* What can be done to bitmaps by name. See bitmap_edit.h. */
#include <inttypes.h>
#include <string.h>

#include <qcow2/bitmap_file.h>

#include "base/bitset.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/list.h"
#include "image/internal.h"
#include "plan/plan.h"

uint64_t qcow2_bitmap_default_granularity(const struct qcow2_geometry *geometry)
{
	uint64_t cluster = geometry->cluster_size_bytes;

	return cluster < 4096 ? 4096 : cluster > 65536 ? 65536 : cluster;
}

/* Names the bitmap in the error of what failed. */
static int about(struct qcow2_bytes name, int failed, struct qcow2_error *err)
{
	if (!failed)
		return 0;
	qcow2_bitmap_error(err, name);
	return -1;
}

/* Half of a change may have been made, unless the error is one of those that come first. */
static int ended(struct qcow2_bitmap_editor *editor, int failed, const struct qcow2_error *err)
{
	editor->failed |=
		failed &&
		(!err || (err->code != QCOW2_ERROR_NOT_FOUND && err->code != QCOW2_ERROR_ARGUMENT));
	return failed;
}

static bool is_called(const struct q2_edited_bitmap *bitmap, struct qcow2_bytes name)
{
	return bitmap->entry.name_size == name.size &&
	       (name.size == 0 || memcmp(bitmap->name, name.data, name.size) == 0);
}

/* How many bitmaps have a name, and where the first of them is. */
static size_t count_called(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			   size_t *at)
{
	uint64_t hash = q2_hash(&editor->key, name);
	size_t found = 0;

	for (size_t i = editor->count; i-- > 0;) {
		if (editor->hashes[i] != hash || !is_called(editor->bitmaps[i], name))
			continue;
		*at = i;
		found++;
	}
	return found;
}

static int find(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, size_t *at,
		struct qcow2_error *err)
{
	size_t found = count_called(editor, name, at);

	if (found == 1)
		return 0;
	if (found == 0)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no bitmap of that name");
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       "%zu bitmaps have that name ('qcow2 bitmap repair' renames them)", found);
}

/* As find(), a bitmap whose contents may be relied on. */
static int find_usable(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		       struct q2_edited_bitmap **out, struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;
	size_t at = 0;

	if (find(editor, name, &at, err))
		return -1;
	bitmap = editor->bitmaps[at];
	*out = bitmap;
	/* Only a dry run gets here while another program writes. */
	if ((bitmap->entry.flags & QCOW2_BITMAP_IN_USE) &&
	    qcow2_source_in_use(editor->plan->source))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it is in use: another program has the image open, and stores it "
			       "when it is done");
	if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it is in use: it was not saved properly ('qcow2 bitmap repair "
			       "--assume-dirty' makes it all dirty; it can be removed)");
	if (bitmap->entry.type != 1 || bitmap->entry.granularity_bits > 63)
		return q2_fail(err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
			       "its type or granularity makes no sense ('qcow2 bitmap repair' "
			       "can drop it)");
	if (bitmap->entry.extra_data_size > 0 &&
	    !(bitmap->entry.flags & QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "it has extra data of an unknown kind and must not be used");
	return 0;
}

static int check_new_name(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			  struct qcow2_error *err)
{
	size_t at = 0;

	if (name.size == 0 || name.size > QCOW2_BITMAP_NAME_MOST)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the name is %zu bytes long: 1 to %d are allowed", name.size,
			       QCOW2_BITMAP_NAME_MOST);
	if (count_called(editor, name, &at) > 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "there is a bitmap of that name already");
	return 0;
}

static int add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, uint64_t granularity,
	       bool enabled, struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;
	unsigned bits;

	if (granularity == 0)
		granularity = qcow2_bitmap_default_granularity(editor->geometry);
	if (!q2_is_power_of_two(granularity))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the granularity is no power of two");
	bits = (unsigned)__builtin_ctzll(granularity);
	if (check_new_name(editor, name, err) || q2_bitmap_fits(editor, bits, err))
		return -1;
	if (editor->count >= QCOW2_BITMAPS_MOST)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "there are %d bitmaps already", QCOW2_BITMAPS_MOST);
	bitmap = q2_bitmap_editor_append(editor, name);
	if (!bitmap)
		return q2_fail_memory(err);
	bitmap->entry.granularity_bits = (uint8_t)bits;
	bitmap->entry.flags = enabled ? QCOW2_BITMAP_AUTO : 0;
	if (qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_MADE, name, err))
		return -1;
	return q2_bitmap_fill(editor, bitmap, 0, err);
}

int qcow2_bitmap_add(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		     uint64_t granularity, bool enabled, struct qcow2_error *err)
{
	return ended(editor, about(name, add(editor, name, granularity, enabled, err), err), err);
}

static int take_away(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		     struct qcow2_error *err)
{
	size_t at = 0;

	if (find(editor, name, &at, err) ||
	    qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_GONE, name, err) ||
	    q2_bitmap_give_up(editor, editor->bitmaps[at], err))
		return -1;
	q2_bitmap_editor_drop(editor, at);
	return 0;
}

int qcow2_bitmap_remove(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct qcow2_error *err)
{
	return ended(editor, about(name, take_away(editor, name, err), err), err);
}

static int clear(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		 struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;

	return find_usable(editor, name, &bitmap, err) || q2_bitmap_fill(editor, bitmap, 0, err)
		       ? -1
		       : 0;
}

int qcow2_bitmap_clear(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		       struct qcow2_error *err)
{
	return ended(editor, about(name, clear(editor, name, err), err), err);
}

static int enable(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name, bool enabled,
		  struct qcow2_error *err)
{
	struct q2_edited_bitmap *bitmap;
	uint32_t flags;

	if (find_usable(editor, name, &bitmap, err))
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
	return ended(editor, about(name, enable(editor, name, enabled, err), err), err);
}

int qcow2_bitmap_rename(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct qcow2_bytes new_name, struct qcow2_error *err)
{
	size_t at = 0;

	if (about(name, find(editor, name, &at, err), err) ||
	    about(new_name, check_new_name(editor, new_name, err), err))
		return -1;
	if (qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_GONE, name, err) ||
	    !q2_bitmap_editor_rename(editor, at, new_name))
		return ended(editor, about(name, q2_fail_memory(err), err), err);
	editor->changed = true;
	return 0;
}

/* Sets what extents call dirty. Their own errors are the caller's to name. */
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
	if (find_usable(editor, name, &bitmap, err) ||
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

	return ended(editor, is_theirs ? failed : about(name, failed, err), err);
}

int qcow2_bitmap_merge(struct qcow2_bitmap_editor *editor, struct qcow2_bytes source,
		       struct qcow2_bytes name, struct qcow2_error *err)
{
	struct q2_edited_bitmap *from, *to;
	struct qcow2_dirty_extents *extents;
	bool is_theirs = false;
	int failed;

	if (about(source, find_usable(editor, source, &from, err), err) ||
	    about(name, find_usable(editor, name, &to, err), err))
		return -1;
	if (from == to)
		return 0;
	if (from->entries ? q2_edited_extents(editor, from, &extents, err)
			  : qcow2_dirty_extents_open(editor->image, &from->entry, 0, &extents, err))
		return about(source, -1, err);
	failed = merge_extents(editor, extents, name, err, &is_theirs);
	qcow2_dirty_extents_close(extents);
	return ended(editor, about(is_theirs ? source : name, failed, err), err);
}

/* Raw bits do not fit: says with which granularities as many would. */
static int fail_size(const struct qcow2_bitmap_editor *editor, uint64_t size, uint64_t wanted,
		     struct qcow2_error *err)
{
	uint64_t disk = editor->geometry->virtual_size_bytes;
	unsigned first = 0, last = 0;

	for (unsigned g = QCOW2_BITMAP_GRANULARITY_MIN; g <= QCOW2_BITMAP_GRANULARITY_MAX; g++) {
		if (q2_div_ceil_u64(qcow2_bitmap_file_bits(disk, g), 8) != size)
			continue;
		first = first ? first : g;
		last = g;
	}
	if (!first)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the data are %" PRIu64 " bytes, where the bitmap has %" PRIu64
			       "; no granularity gives a disk of %" PRIu64 " bytes so many: "
			       "they are of another disk",
			       size, wanted, disk);
	/* %.0 prints no zero. */
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       "the data are %" PRIu64 " bytes, where the bitmap has %" PRIu64
		       "; a new bitmap with -g %" PRIu64 "%s%.0" PRIu64 " would fit",
		       size, wanted, UINT64_C(1) << first, first == last ? "" : " to ",
		       first == last ? 0 : UINT64_C(1) << last);
}

static int import(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		  struct qcow2_bytes bits, struct qcow2_error *err)
{
	size_t cluster = (size_t)editor->geometry->cluster_size_bytes;
	struct q2_edited_bitmap *bitmap;
	uint64_t count;

	if (find_usable(editor, name, &bitmap, err))
		return -1;
	count = q2_edited_bits(editor, bitmap);
	if (bits.size != q2_div_ceil_u64(count, 8))
		return fail_size(editor, bits.size, q2_div_ceil_u64(count, 8), err);
	if (count % 8 != 0 && bits.data[bits.size - 1] >> count % 8 != 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "bits past the end of the bitmap are set in the last byte");
	if (q2_bitmap_fill(editor, bitmap, 0, err))
		return -1;
	for (uint64_t i = 0; i < bitmap->entry_count; i++) {
		size_t at = (size_t)i * cluster;
		size_t size = bits.size - at < cluster ? bits.size - at : cluster;
		uint8_t *data;

		if (q2_count_ones(bits.data + at, size) == 0)
			continue;
		data = q2_bitmap_data(editor, bitmap, i, err);
		if (!data)
			return -1;
		memcpy(data, bits.data + at, size);
	}
	return 0;
}

int qcow2_bitmap_import(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			struct qcow2_bytes bits, struct qcow2_error *err)
{
	return ended(editor, about(name, import(editor, name, bits, err), err), err);
}

/* What a file says of itself must be so of the disk, and of the bitmap if that is there. */
static int check_file(const struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		      const struct qcow2_bitmap_file *file, struct qcow2_error *err)
{
	uint64_t disk = editor->geometry->virtual_size_bytes;
	unsigned granularity_bits;
	size_t at = 0;

	if (qcow2_bitmap_file_bits(disk, QCOW2_BITMAP_GRANULARITY_MIN) !=
	    qcow2_bitmap_file_bits(file->disk_size_bytes, QCOW2_BITMAP_GRANULARITY_MIN))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the export is of a disk of %" PRIu64 " bytes, and this one has "
			       "%" PRIu64,
			       file->disk_size_bytes, disk);
	if (count_called(editor, name, &at) == 0)
		return 0;
	granularity_bits = editor->bitmaps[at]->entry.granularity_bits;
	if (granularity_bits == file->granularity_bits)
		return 0;
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       "its granularity is 2^%u bytes, and the export's 2^%u: import it under a "
		       "new name without -g, then merge",
		       granularity_bits, file->granularity_bits);
}

static int import_file(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
		       struct qcow2_bytes bytes, struct qcow2_error *err)
{
	struct qcow2_bitmap_file file;
	struct qcow2_bytes bits;
	size_t at = 0;

	if (qcow2_bitmap_file_parse(bytes, &file, &bits, err) ||
	    check_file(editor, name, &file, err))
		return -1;
	if (count_called(editor, name, &at) == 0 &&
	    add(editor, name, UINT64_C(1) << file.granularity_bits, file.enabled, err))
		return -1;
	return import(editor, name, bits, err);
}

int qcow2_bitmap_import_file(struct qcow2_bitmap_editor *editor, struct qcow2_bytes name,
			     struct qcow2_bytes file, struct qcow2_error *err)
{
	return ended(editor, about(name, import_file(editor, name, file, err), err), err);
}
