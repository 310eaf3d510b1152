/* SPDX-License-Identifier: MIT */
/* See bits.h. */
#include "edit/bitmap/bits.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap_trust/answers.h"
#include "image/bitmaps/dirty_extents.h"
#include "image/internal.h"

/* The most that all bitmaps of an editor have to write; a plan in memory holds no more either. */
#define HELD_MOST_BYTES (UINT64_C(1) << 30)
/* What an entry of a table costs: itself, and what leads to its data. */
#define PER_ENTRY_BYTES UINT64_C(16)

static uint64_t bits_per_entry(const struct qcow2_bitmap_editor *editor)
{
	return editor->geometry->cluster_size_bytes * 8;
}

uint64_t q2_edited_bits(const struct qcow2_bitmap_editor *editor,
			const struct q2_edited_bitmap *bitmap)
{
	return q2_div_ceil_u64(q2_tracked_bytes(editor->geometry),
			       UINT64_C(1) << bitmap->entry.granularity_bits);
}

uint64_t q2_edited_table_clusters(const struct qcow2_bitmap_editor *editor,
				  const struct q2_edited_bitmap *bitmap)
{
	return q2_div_ceil_u64(bitmap->entry_count * 8, editor->geometry->cluster_size_bytes);
}

/* How many bits of the bitmap the entry at `index` stands for; the last entry may have fewer. */
static uint64_t bits_of_entry(const struct qcow2_bitmap_editor *editor,
			      const struct q2_edited_bitmap *bitmap, uint64_t index)
{
	uint64_t left = q2_edited_bits(editor, bitmap) - index * bits_per_entry(editor);

	return left < bits_per_entry(editor) ? left : bits_per_entry(editor);
}

int q2_bitmap_fits(const struct qcow2_bitmap_editor *editor, unsigned granularity_bits,
		   struct qcow2_error *err)
{
	uint64_t needed;

	if (granularity_bits < QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MIN ||
	    granularity_bits > QCOW2_LIMIT_QEMU_BITMAP_GRANULARITY_BITS_MAX)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the granularity is not from 512 bytes to 2 GiB");
	needed = qcow2_bitmap_table_entries_needed(editor->geometry, granularity_bits);
	if (needed == 0)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the disk has no bytes: there is nothing to track");
	if (needed > QCOW2_LIMIT_QEMU_BITMAP_TABLE_ENTRIES ||
	    needed > (uint64_t)QCOW2_LIMIT_QEMU_BITMAP_DATA_BYTES >> editor->geometry->cluster_bits)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "a granularity of %" PRIu64 " bytes is too fine for a disk of "
			       "%" PRIu64 ": the bitmap would be over 512 MiB",
			       UINT64_C(1) << granularity_bits,
			       editor->geometry->virtual_size_bytes);
	return 0;
}

/* ---- memory ---- */

static int hold(struct qcow2_bitmap_editor *editor, uint64_t bytes, struct qcow2_error *err)
{
	if (bytes > HELD_MOST_BYTES - editor->held_bytes)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the bitmaps that change have over %" PRIu64
			       " bytes together: change fewer at a time",
			       HELD_MOST_BYTES);
	editor->held_bytes += bytes;
	return 0;
}

void q2_bitmap_release_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			    uint64_t index)
{
	if (!q2_edited_has_data(bitmap, index))
		return;
	if (bitmap->data) {
		q2_free(bitmap->data[index]);
		bitmap->data[index] = NULL;
	}
	if (bitmap->from)
		bitmap->from[index] = 0;
	if (index == bitmap->entry_count - 1)
		bitmap->is_spelled_out = false;
	editor->held_bytes -= editor->geometry->cluster_size_bytes;
}

void q2_bitmap_release_bits(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap)
{
	for (uint64_t i = 0; i < bitmap->entry_count; i++)
		q2_bitmap_release_data(editor, bitmap, i);
	q2_free(bitmap->data);
	q2_free(bitmap->from);
	q2_free(bitmap->entries);
	bitmap->data = NULL;
	bitmap->from = NULL;
	bitmap->entries = NULL;
	editor->held_bytes -= bitmap->entry_count * PER_ENTRY_BYTES;
	bitmap->entry_count = 0;
}

int q2_bitmap_fill(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		   uint64_t entry, struct qcow2_error *err)
{
	uint64_t needed;

	if (q2_bitmap_fits(editor, bitmap->entry.granularity_bits, err) ||
	    q2_bitmap_give_up(editor, bitmap, err))
		return -1;
	q2_bitmap_release_bits(editor, bitmap);
	needed =
		qcow2_bitmap_table_entries_needed(editor->geometry, bitmap->entry.granularity_bits);
	if (hold(editor, needed * PER_ENTRY_BYTES, err))
		return -1;
	bitmap->entry_count = needed;
	bitmap->entries = q2_alloc_array((size_t)needed, sizeof(*bitmap->entries));
	if (!bitmap->entries) {
		/* Later actions see that there are no bits. */
		q2_bitmap_release_bits(editor, bitmap);
		return q2_fail_memory(err);
	}
	for (uint64_t i = 0; i < needed; i++)
		bitmap->entries[i] = entry;
	editor->changed = true;
	return 0;
}

/* ---- data ---- */

/* Sets all bits of an entry's data, but those past the end of the bitmap. */
static void fill_ones(const struct qcow2_bitmap_editor *editor,
		      const struct q2_edited_bitmap *bitmap, uint64_t index, uint8_t *data)
{
	uint64_t bits = bits_of_entry(editor, bitmap, index);

	memset(data, 0xff, (size_t)(bits / 8));
	memset(data + bits / 8, 0, (size_t)(editor->geometry->cluster_size_bytes - bits / 8));
	if (bits % 8 != 0)
		data[bits / 8] = (uint8_t)((1U << bits % 8) - 1);
}

/* Clears what is set past the end of the bitmap. */
static void clear_tail(const struct qcow2_bitmap_editor *editor,
		       const struct q2_edited_bitmap *bitmap, uint64_t index, uint8_t *data)
{
	uint64_t bits = bits_of_entry(editor, bitmap, index);
	uint64_t whole = q2_div_ceil_u64(bits, 8);

	if (bits % 8 != 0)
		data[bits / 8] &= (uint8_t)((1U << bits % 8) - 1);
	memset(data + whole, 0, (size_t)(editor->geometry->cluster_size_bytes - whole));
}

const uint8_t *q2_edited_read(const struct qcow2_bitmap_editor *editor,
			      const struct q2_edited_bitmap *bitmap, uint64_t index, uint8_t *room,
			      struct qcow2_error *err)
{
	if (bitmap->data && bitmap->data[index])
		return bitmap->data[index];
	if (!bitmap->from || bitmap->from[index] == 0)
		fill_ones(editor, bitmap, index, room);
	else if (q2_image_read_padded(editor->image, bitmap->from[index], room,
				      (size_t)editor->geometry->cluster_size_bytes, err))
		return NULL;
	else
		clear_tail(editor, bitmap, index, room);
	return room;
}

int q2_bitmap_spell_out(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			struct qcow2_error *err)
{
	if (hold(editor, editor->geometry->cluster_size_bytes, err))
		return -1;
	bitmap->is_spelled_out = true;
	bitmap->entries[bitmap->entry_count - 1] = 0;
	return 0;
}

/* Gives an entry bits that the file has. */
static int take_over(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		     uint64_t index, uint64_t from, struct qcow2_error *err)
{
	if (!bitmap->from)
		bitmap->from = q2_alloc_array((size_t)bitmap->entry_count, sizeof(*bitmap->from));
	if (!bitmap->from)
		return q2_fail_memory(err);
	if (hold(editor, editor->geometry->cluster_size_bytes, err))
		return -1;
	bitmap->from[index] = from;
	bitmap->entries[index] = 0;
	return 0;
}

/* Makes a cluster of bits of what an entry says. */
static uint8_t *make_data(const struct qcow2_bitmap_editor *editor,
			  const struct q2_edited_bitmap *bitmap, uint64_t index,
			  struct qcow2_error *err)
{
	uint8_t *data = q2_alloc_array((size_t)editor->geometry->cluster_size_bytes, 1);

	if (!data) {
		q2_fail_memory(err);
	} else if (q2_edited_has_data(bitmap, index)) {
		if (!q2_edited_read(editor, bitmap, index, data, err)) {
			q2_free(data);
			data = NULL;
		}
	} else if (bitmap->entries[index] == Q2_BITMAP_ENTRY_ONES) {
		fill_ones(editor, bitmap, index, data);
	}
	return data;
}

uint8_t *q2_bitmap_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
			uint64_t index, struct qcow2_error *err)
{
	uint8_t *data;

	if (!bitmap->data)
		bitmap->data = q2_alloc_array((size_t)bitmap->entry_count, sizeof(*bitmap->data));
	if (!bitmap->data) {
		q2_fail_memory(err);
		return NULL;
	}
	if (bitmap->data[index])
		return bitmap->data[index];
	data = make_data(editor, bitmap, index, err);
	if (!data)
		return NULL;
	q2_bitmap_release_data(editor, bitmap, index);
	if (hold(editor, editor->geometry->cluster_size_bytes, err)) {
		q2_free(data);
		return NULL;
	}
	bitmap->entries[index] = 0;
	return bitmap->data[index] = data;
}

/* ---- taking a stored table over ---- */

static bool is_damaged(const struct qcow2_bitmap_editor *editor, uint64_t entry)
{
	uint64_t offset = qcow2_bitmap_table_entry_decode(entry).offset;

	return (entry & qcow2_bitmap_table_entry_reserved) ||
	       qcow2_bitmap_entry_classify(entry) == QCOW2_BITMAP_ENTRY_INVALID ||
	       offset % editor->geometry->cluster_size_bytes != 0 ||
	       offset >= editor->geometry->file_size_bytes;
}

/*
 * Takes one entry of a stored table over. Its data stay in the file until they are written, if that
 * is part of a repair: what a repair writes lies where nothing else is. Otherwise what is new may
 * get their place, and they are copied.
 */
static int load_entry(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      uint64_t index, uint64_t entry, struct qcow2_error *err)
{
	uint64_t offset = qcow2_bitmap_table_entry_decode(entry).offset;

	bitmap->entries[index] = entry & Q2_BITMAP_ENTRY_ONES;
	if (offset == 0)
		return 0;
	if (take_over(editor, bitmap, index, offset, err))
		return -1;
	return editor->within || q2_bitmap_data(editor, bitmap, index, err) ? 0 : -1;
}

int q2_bitmap_load(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		   const struct q2_bitmap_trust *trust, uint64_t *uncertain,
		   struct qcow2_error *err)
{
	struct qcow2_bitmap_dir_entry old = bitmap->entry;
	struct qcow2_table *table;
	uint64_t there, entry;
	int failed = 0;

	*uncertain = 0;
	if (bitmap->entries)
		return 0;
	if (q2_bitmap_fill(editor, bitmap, 0, err) || qcow2_table_open(editor->image, &table, err))
		return -1;
	there = qcow2_table_begin(table, old.bitmap_table_offset, old.bitmap_table_size);
	for (uint64_t i = 0; i < bitmap->entry_count && !failed; i++) {
		bool lost = i >= there;

		entry = 0;
		if (!lost)
			failed = qcow2_table_entry(table, i, &entry, err);
		lost |= is_damaged(editor, entry);
		lost |= trust && q2_trust_entry(trust, bitmap->index, i) != QCOW2_PROBLEM_NONE;
		if (lost && !trust)
			failed = q2_fail(err, QCOW2_ERROR_BROKEN, old.bitmap_table_offset + i * 8,
					 "an entry of the bitmap's table is damaged ('qcow2 "
					 "bitmap repair' mends it)");
		if (lost) {
			*uncertain += bits_of_entry(editor, bitmap, i);
			entry = Q2_BITMAP_ENTRY_ONES;
		}
		if (!failed)
			failed = load_entry(editor, bitmap, i, entry, err);
	}
	qcow2_table_close(table);
	return failed;
}

/* ---- setting ---- */

/* Sets the bits [first, end) of one entry's data. */
static void set_in_data(uint8_t *data, uint64_t first, uint64_t end)
{
	while (first < end && first % 8 != 0) {
		data[first / 8] |= (uint8_t)(1U << first % 8);
		first++;
	}
	while (end > first && end % 8 != 0) {
		end--;
		data[end / 8] |= (uint8_t)(1U << end % 8);
	}
	if (first < end)
		memset(data + first / 8, 0xff, (size_t)((end - first) / 8));
}

/*
 * A whole entry becomes all ones without data. A part of one needs data, unless the entry is all
 * ones already.
 */
int q2_bitmap_set_bits(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       uint64_t first, uint64_t end, struct qcow2_error *err)
{
	uint64_t per_entry = bits_per_entry(editor);

	while (first < end) {
		uint64_t index = first / per_entry, from = first % per_entry;
		uint64_t bits = bits_of_entry(editor, bitmap, index);
		uint64_t to = end - index * per_entry < bits ? end - index * per_entry : bits;
		uint8_t *data;

		if (from == 0 && to == bits) {
			q2_bitmap_release_data(editor, bitmap, index);
			bitmap->entries[index] = Q2_BITMAP_ENTRY_ONES;
		} else if (q2_edited_has_data(bitmap, index) ||
			   bitmap->entries[index] != Q2_BITMAP_ENTRY_ONES) {
			data = q2_bitmap_data(editor, bitmap, index, err);
			if (!data)
				return -1;
			set_in_data(data, from, to);
		}
		first = index * per_entry + to;
	}
	return 0;
}

/* ---- as extents ---- */

struct edited_extents {
	struct qcow2_dirty_extents common;
	const struct qcow2_bitmap_editor *editor;
	const struct q2_edited_bitmap *bitmap;
	uint64_t bit, bits;
};

/* Returns the end of the run of equal bits that begins at bit `first`, at most `end`. */
static uint64_t run_in_data(const uint8_t *data, uint64_t first, uint64_t end)
{
	bool set = data[first / 8] >> first % 8 & 1;
	uint8_t same = set ? 0xff : 0;

	while (first < end) {
		if (first % 8 == 0 && data[first / 8] == same) {
			first += 8;
			continue;
		}
		if ((data[first / 8] >> first % 8 & 1) != set)
			return first;
		first++;
	}
	return end;
}

static int edited_fill(struct qcow2_dirty_extents *extents, struct qcow2_error *err)
{
	struct edited_extents *e = (struct edited_extents *)extents;
	const struct q2_edited_bitmap *bitmap = e->bitmap;
	uint64_t per_entry = bits_per_entry(e->editor);

	(void)err;
	assert(!e->editor->within); /* all data are in memory */
	while (e->bit < e->bits && q2_dirty_extents_have_room(extents)) {
		uint64_t index = e->bit / per_entry;
		uint64_t end = bits_of_entry(e->editor, bitmap, index);
		bool dirty = bitmap->entries[index] == Q2_BITMAP_ENTRY_ONES;
		const uint8_t *data = bitmap->data ? bitmap->data[index] : NULL;

		if (data) {
			dirty = data[e->bit % per_entry / 8] >> e->bit % 8 & 1;
			end = run_in_data(data, e->bit % per_entry, end);
		}
		q2_dirty_extents_turn(extents, e->bit << bitmap->entry.granularity_bits, dirty);
		e->bit = index * per_entry + end;
	}
	return e->bit < e->bits;
}

static void edited_close(struct qcow2_dirty_extents *extents)
{
	q2_free(extents);
}

int q2_edited_extents(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	static const struct q2_dirty_extents_kind kind = {edited_fill, edited_close};
	struct edited_extents *e = q2_alloc(sizeof(*e));

	if (!e)
		return q2_fail_memory(err);
	e->common.kind = &kind;
	e->common.size_bytes = q2_tracked_bytes(editor->geometry);
	e->editor = editor;
	e->bitmap = bitmap;
	e->bits = q2_edited_bits(editor, bitmap);
	*out = &e->common;
	return 0;
}
