/* SPDX-License-Identifier: MIT */
/* Plans what a bitmap editor has changed, in the phases of edit.h. */
#include <inttypes.h>
#include <string.h>

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/ones.h"
#include "edit/area.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/clean.h"
#include "edit/bitmap/entry.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/list.h"
#include "edit/bitmap/place.h"
#include "plan/allocator.h"

/*
 * Takes the bitmaps bit back, so that nobody relies on the bitmaps while they change ("Bitmaps
 * extension"). If clusters of bitmaps are written over, the extension goes as well, so that nobody
 * looks for them.
 */
static int withdraw(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	uint64_t bits = qcow2_image_header(editor->image)->autoclear_features;
	struct q2_area area;
	int failed;

	if (!editor->reuses)
		return q2_plan_autoclear(editor->plan, QCOW2_PHASE_WITHDRAW,
					 bits & ~QCOW2_AUTOCLEAR_BITMAPS,
					 "take the bitmaps bit back while they change", err);
	failed = q2_area_open(&area, editor->plan, err);
	if (!failed) {
		while (editor->extension_index < area.count &&
		       area.extensions[editor->extension_index].magic != QCOW2_EXTENSION_BITMAPS)
			editor->extension_index++;
		q2_area_remove(&area, QCOW2_EXTENSION_BITMAPS);
		area.autoclear_features &= ~QCOW2_AUTOCLEAR_BITMAPS;
		area.phase = QCOW2_PHASE_WITHDRAW;
		failed = q2_area_plan(&area, editor->plan,
				      "no bitmaps while their clusters are used again", err);
	}
	q2_area_close(&area);
	return failed;
}

/* ---- data and tables ---- */

/* Drops the data of an entry if they are all zeros or all ones: the entry can say that alone. */
static int simplify(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		    uint64_t index, uint8_t *room, struct qcow2_error *err)
{
	const uint8_t *data = q2_edited_read(editor, bitmap, index, room, err);
	uint64_t cluster = editor->geometry->cluster_size_bytes;
	uint64_t left = q2_edited_bits(editor, bitmap) - index * cluster * 8;
	uint64_t bits = left < cluster * 8 ? left : cluster * 8;
	uint64_t ones;

	if (!data)
		return -1;
	ones = q2_count_ones(data, (size_t)cluster);
	if (ones != 0 && (ones != bits || bits != cluster * 8))
		return 0;
	q2_bitmap_release_data(editor, bitmap, index);
	bitmap->entries[index] = ones ? Q2_BITMAP_ENTRY_ONES : 0;
	return 0;
}

/*
 * Gives the last entry data if it is all ones and the bitmap does not fill it. The entry alone
 * would be right, but QEMU then sets bits past the end when it stores the bitmap the next time.
 */
static int spell_out_last(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			  struct qcow2_error *err)
{
	uint64_t per_entry = editor->geometry->cluster_size_bytes * 8;
	uint64_t last = bitmap->entry_count - 1;

	if (q2_edited_has_data(bitmap, last) || bitmap->entries[last] != Q2_BITMAP_ENTRY_ONES ||
	    q2_edited_bits(editor, bitmap) % per_entry == 0)
		return 0;
	return q2_bitmap_spell_out(editor, bitmap, err);
}

/*
 * Decides what each entry says, and counts the clusters that the data and the table of a bitmap
 * take.
 */
static int settle(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		  uint8_t *room, struct qcow2_error *err)
{
	if (spell_out_last(editor, bitmap, err))
		return -1;
	editor->needs.clusters += q2_edited_table_clusters(editor, bitmap);
	for (uint64_t i = 0; i < bitmap->entry_count; i++) {
		if (q2_edited_has_data(bitmap, i) && simplify(editor, bitmap, i, room, err))
			return -1;
		editor->needs.clusters += q2_edited_has_data(bitmap, i);
	}
	return 0;
}

/* Settles all bitmaps that change. */
static int settle_bitmaps(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	uint8_t *room = q2_alloc_buffer((size_t)editor->geometry->cluster_size_bytes);
	int failed = room ? 0 : q2_fail_memory(err);

	for (size_t i = 0; i < editor->count && !failed; i++)
		if (editor->bitmaps[i]->entries)
			failed = settle(editor, editor->bitmaps[i], room, err);
	q2_free(room);
	return failed;
}

static int write_run(struct qcow2_bitmap_editor *editor, uint64_t offset, const uint8_t *run,
		     size_t size, struct qcow2_error *err)
{
	return qcow2_plan_write(editor->plan, QCOW2_PHASE_NEW, offset,
				(struct qcow2_bytes){run, size}, "bitmap data", err);
}

/* Puts the data of an entry behind those of a run. */
static int add_to_run(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      uint64_t index, uint8_t *to, struct qcow2_error *err)
{
	const uint8_t *data = q2_edited_read(editor, bitmap, index, to, err);

	if (!data)
		return -1;
	if (data != to)
		memcpy(to, data, (size_t)editor->geometry->cluster_size_bytes);
	q2_bitmap_release_data(editor, bitmap, index);
	return 0;
}

/* Plans the data of a bitmap; data that lie side by side are one write. */
static int write_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_error *err)
{
	size_t cluster = (size_t)editor->geometry->cluster_size_bytes, size = 0;
	size_t most = cluster < Q2_BITMAP_RUN_BYTES ? Q2_BITMAP_RUN_BYTES : cluster;
	uint8_t *run = q2_alloc_buffer(most);
	uint64_t offset = 0;
	int failed = 0;

	if (!run)
		return q2_fail_memory(err);
	for (uint64_t i = 0; i < bitmap->entry_count && !failed; i++) {
		if (!q2_edited_has_data(bitmap, i))
			continue;
		if (size == most || bitmap->entries[i] != offset + size) {
			failed = write_run(editor, offset, run, size, err);
			offset = bitmap->entries[i];
			size = 0;
		}
		if (!failed)
			failed = add_to_run(editor, bitmap, i, run + size, err);
		size += cluster;
	}
	if (!failed)
		failed = write_run(editor, offset, run, size, err);
	q2_free(run);
	return failed;
}

static int write_table(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       struct qcow2_error *err)
{
	size_t size = (size_t)(q2_edited_table_clusters(editor, bitmap)
			       << editor->geometry->cluster_bits);
	uint8_t *raw = q2_alloc_array(size, 1);
	int failed;

	if (!raw)
		return q2_fail_memory(err);
	for (uint64_t i = 0; i < bitmap->entry_count; i++)
		q2_store_be64(raw + i * 8, bitmap->entries[i]);
	failed = qcow2_plan_intend(editor->plan, QCOW2_INTENT_BITMAP_WRITTEN,
				   q2_edited_name(bitmap), err) ||
		 qcow2_plan_write(editor->plan, QCOW2_PHASE_NEW, bitmap->entry.bitmap_table_offset,
				  (struct qcow2_bytes){raw, size}, "bitmap table", err);
	q2_free(raw);
	return failed;
}

static int write_bitmaps(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	for (size_t i = 0; i < editor->count; i++) {
		struct q2_edited_bitmap *bitmap = editor->bitmaps[i];

		if (bitmap->entries &&
		    (write_data(editor, bitmap, err) || write_table(editor, bitmap, err)))
			return -1;
	}
	return 0;
}

/* ---- directory ---- */

static int give_up_directory(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	uint64_t size = editor->directory_size < QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES
				? editor->directory_size
				: QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES;

	return editor->has_extension
		       ? q2_give_up_clusters(editor, editor->directory_offset, size, err)
		       : 0;
}

/*
 * Plans the directory, always in clusters that nothing uses. The clusters of the old directory may
 * belong to something else as well; they are taken only after a check has shown that they do not.
 */
static int write_directory(struct qcow2_bitmap_editor *editor, uint64_t offset, uint64_t size,
			   struct qcow2_error *err)
{
	uint8_t *raw;
	uint64_t at = 0, padded = q2_div_ceil_u64(size, editor->geometry->cluster_size_bytes)
				  << editor->geometry->cluster_bits;
	int failed;

	if (size == 0)
		return 0;
	raw = q2_alloc_array((size_t)padded, 1);
	if (!raw)
		return q2_fail_memory(err);
	for (size_t i = 0; i < editor->count; i++) {
		q2_edited_put_entry(raw + at, editor->bitmaps[i]);
		at += q2_edited_entry_size(editor->bitmaps[i]);
	}
	failed = qcow2_plan_write(editor->plan, QCOW2_PHASE_NEW, offset,
				  (struct qcow2_bytes){raw, (size_t)padded}, "bitmap directory",
				  err);
	q2_free(raw);
	return failed;
}

/* Sets the bitmaps bit again, in the last phase, when all else is on the medium. */
static int vouch(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	uint64_t bits = qcow2_image_header(editor->image)->autoclear_features;

	if (editor->count == 0)
		return 0;
	return q2_plan_autoclear(editor->plan, QCOW2_PHASE_CLEAN, bits | QCOW2_AUTOCLEAR_BITMAPS,
				 "set the bitmaps bit again", err);
}

/* Tells the plan that the extension is meant to go: without bitmaps there is none. */
static int intend_no_extension(struct qcow2_plan *plan, struct qcow2_error *err)
{
	uint8_t type[4];

	q2_store_be32(type, QCOW2_EXTENSION_BITMAPS);
	return qcow2_plan_intend(plan, QCOW2_INTENT_EXTENSION,
				 (struct qcow2_bytes){type, sizeof(type)}, err);
}

/* Points the header to the directory. */
static int point(struct qcow2_bitmap_editor *editor, uint64_t offset, uint64_t size,
		 struct qcow2_error *err)
{
	const struct qcow2_bitmaps_extension extension = {
		.nb_bitmaps = (uint32_t)editor->count,
		.bitmap_directory_size = size,
		.bitmap_directory_offset = offset,
	};
	uint8_t data[sizeof(extension)];
	struct q2_area area;
	size_t at = 0;
	int failed = q2_area_open(&area, editor->plan, err);

	if (!failed && editor->count == 0)
		failed = intend_no_extension(editor->plan, err);
	qcow2_bitmaps_extension_encode(&extension, data, sizeof(data));
	if (!failed) {
		while (at < area.count && area.extensions[at].magic != QCOW2_EXTENSION_BITMAPS)
			at++;
		if (editor->reuses)
			at = editor->extension_index;
		q2_area_remove(&area, QCOW2_EXTENSION_BITMAPS);
		area.autoclear_features &= ~QCOW2_AUTOCLEAR_BITMAPS;
		if (editor->count > 0)
			q2_area_insert(&area, at, QCOW2_EXTENSION_BITMAPS,
				       (struct qcow2_bytes){data, sizeof(data)});
		failed = q2_area_plan(
			&area, editor->plan,
			editor->count > 0 ? "point to the bitmaps" : "no bitmaps any more", err);
	}
	q2_area_close(&area);
	return failed;
}

/* Whether clusters may be in use without being counted, as after a crash with lazy refcounts. */
static bool is_distrusted(const struct qcow2_bitmap_editor *editor)
{
	return editor->careful || (qcow2_image_header(editor->image)->incompatible_features &
				   (QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT)) != 0;
}

/* Decides what is new, and counts the clusters that it takes. */
static int settle_all(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	struct q2_bitmap_needs *needs = &editor->needs;

	*needs = (struct q2_bitmap_needs){0};
	if (settle_bitmaps(editor, err))
		return -1;
	for (size_t i = 0; i < editor->count; i++)
		needs->directory_bytes += q2_edited_entry_size(editor->bitmaps[i]);
	if (needs->directory_bytes > QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the bitmap directory would be over %" PRIu64 " bytes",
			       (uint64_t)QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES);
	needs->directory_clusters =
		q2_div_ceil_u64(needs->directory_bytes, editor->geometry->cluster_size_bytes);
	needs->clusters += needs->directory_clusters;
	return give_up_directory(editor, err);
}

/*
 * The order of the writes follows from what a crash may leave. First the bitmaps bit goes, so that
 * nobody believes bitmaps that are half changed. Then all that is new is written and counted, where
 * nothing points to it. Then the header points to the new directory. At the end the bit is set
 * again, and what the old directory and tables had becomes free: before that point the old bitmaps
 * can still be found, after it the new ones.
 */
int qcow2_bitmap_editor_finish(struct qcow2_bitmap_editor *editor, struct qcow2_error *err)
{
	uint64_t offset = 0, size;

	if (editor->failed)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "a change of the bitmaps failed halfway: nothing can be planned");
	if (!editor->changed)
		return 0;
	editor->changed = false;
	if (settle_all(editor, err) ||
	    q2_bitmaps_place(editor, is_distrusted(editor), &offset, err))
		return -1;
	size = editor->needs.directory_bytes;
	return withdraw(editor, err) || write_bitmaps(editor, err) ||
			       write_directory(editor, offset, size, err) ||
			       (!editor->within &&
				q2_allocator_plan(editor->allocator, QCOW2_PHASE_NEW, err)) ||
			       point(editor, offset, size, err) || vouch(editor, err) ||
			       (!editor->within && q2_bitmaps_clean(editor, err))
		       ? -1
		       : 0;
}
