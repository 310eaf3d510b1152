/* SPDX-License-Identifier: MIT */
/*
 * Judges a repair by its result. It reads the planned image as any program would, and compares each
 * bitmap that can be relied on with the image before. A bit that was dirty before, or that nobody
 * can know, must be dirty. So a mistake in the repair cannot lose a dirty bit.
 */
#include "edit/bitmap_repair/judge.h"

#include <inttypes.h>

#include <qcow2/entry.h>
#include <qcow2/limits.h>
#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/bitmap_trust/answers.h"
#include "edit/bitmap_trust/walk.h"
#include "image/internal.h"

/* A bitmap before, and the extents of the same bitmap after. */
struct comparison {
	struct q2_bitmap_repair_run *r;
	const struct qcow2_bitmap *before;
	const struct q2_bitmap_trust *after_trust;
	struct qcow2_image *after_image;
	struct qcow2_dirty_extents *after;
	struct qcow2_dirty_extent extent; /* the one that was read last */
};

static int lost(const struct comparison *c, uint64_t at_bytes)
{
	char safe[120];

	qcow2_text_escape(c->before->name, safe, sizeof(safe));
	return q2_fail(c->r->err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
		       "nothing was changed: after the repair, bitmap '%s' would call clean what "
		       "may be dirty at byte %" PRIu64 " of the disk; --drop-bad drops it",
		       safe, at_bytes);
}

/*
 * Fails unless the bytes [start, end) of the disk are dirty after the repair. Starts rise from call
 * to call.
 */
static int demand(struct comparison *c, uint64_t start, uint64_t end)
{
	uint64_t size = qcow2_dirty_extents_size_bytes(c->after);

	if (end > size)
		end = size;
	while (start < end) {
		uint64_t extent_end = c->extent.start_bytes + c->extent.length_bytes;

		if (extent_end <= start) {
			int more = qcow2_dirty_extents_next(c->after, &c->extent, c->r->err);

			if (more <= 0)
				return more < 0 ? -1 : lost(c, start);
			continue;
		}
		if (!c->extent.dirty)
			return lost(c, start);
		start = extent_end;
	}
	return 0;
}

/* Returns the byte of the disk at which a bit begins; UINT64_MAX if that overflows. */
static uint64_t byte_of(const struct comparison *c, uint64_t bit)
{
	unsigned bits = c->before->entry.granularity_bits;

	return bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX || bit > UINT64_MAX >> bits
		       ? UINT64_MAX
		       : bit << bits;
}

/*
 * Finds the first run of set bits at or behind *first: sets *first to its beginning, or to `end` if
 * there is none, and returns its end.
 */
static uint64_t find_run(const uint8_t *data, uint64_t *first, uint64_t end)
{
	uint64_t bit = *first;

	while (bit < end && !(data[bit / 8] >> bit % 8 & 1))
		bit += bit % 8 == 0 && data[bit / 8] == 0 ? 8 : 1;
	*first = bit < end ? bit : end;
	while (bit < end && (data[bit / 8] >> bit % 8 & 1))
		bit += bit % 8 == 0 && data[bit / 8] == 0xff ? 8 : 1;
	return bit;
}

/* Demands that the set bits in the data of an entry stay dirty. */
static int demand_data(struct comparison *c, uint64_t offset, uint64_t first_bit)
{
	size_t cluster = (size_t)c->r->editor->geometry->cluster_size_bytes;
	uint8_t *data = q2_alloc_buffer(cluster);
	uint64_t bits = cluster * UINT64_C(8), first = 0;
	int failed =
		data ? q2_image_read_padded(c->r->editor->image, offset, data, cluster, c->r->err)
		     : q2_fail_memory(c->r->err);

	while (!failed && first < bits) {
		uint64_t end = find_run(data, &first, bits);

		if (first < bits)
			failed = demand(c, byte_of(c, first_bit + first),
					byte_of(c, first_bit + end));
		first = end;
	}
	q2_free(data);
	return failed;
}

static int demand_entry(struct comparison *c, struct qcow2_table *table, uint64_t index)
{
	uint64_t per_entry = c->r->editor->geometry->cluster_size_bytes * 8, entry;
	uint64_t first = index * per_entry;

	if (q2_trust_entry(c->r->trust, c->before->index, index) != QCOW2_PROBLEM_NONE)
		return demand(c, byte_of(c, first), byte_of(c, first + per_entry));
	if (qcow2_table_entry(table, index, &entry, c->r->err))
		return -1;
	if (entry == Q2_BITMAP_ENTRY_ONES)
		return demand(c, byte_of(c, first), byte_of(c, first + per_entry));
	return entry == 0 ? 0
			  : demand_data(c, qcow2_bitmap_table_entry_decode(entry).offset, first);
}

static int compare(struct comparison *c)
{
	const struct qcow2_bitmap_dir_entry *e = &c->before->entry;
	struct qcow2_table *table;
	uint64_t there;
	int failed = 0;

	if (q2_trust_whole(c->r->trust, c->before->index) != QCOW2_PROBLEM_NONE)
		return demand(c, 0, UINT64_MAX);
	if (qcow2_table_open(c->r->editor->image, &table, c->r->err))
		return -1;
	there = qcow2_table_begin(table, e->bitmap_table_offset, e->bitmap_table_size);
	for (uint64_t i = 0; i < there && !failed; i++)
		failed = demand_entry(c, table, i);
	qcow2_table_close(table);
	return failed;
}

/* Compares one bitmap after the repair with the bitmap that it was made from. */
static int judge_bitmap(struct comparison *c, const struct qcow2_bitmap *after, bool left)
{
	int failed;

	if (left || (after->entry.flags & QCOW2_BITMAP_IN_USE))
		return 0;
	if (q2_trust_whole(c->after_trust, after->index) != QCOW2_PROBLEM_NONE ||
	    q2_trust_any(c->after_trust, after->index) != QCOW2_PROBLEM_NONE)
		return lost(c, 0);
	if (qcow2_dirty_extents_open(c->after_image, &after->entry, 0, &c->after, c->r->err))
		return -1;
	c->extent = (struct qcow2_dirty_extent){.start_bytes = 0};
	failed = compare(c);
	qcow2_dirty_extents_close(c->after);
	return failed;
}

/* Compares all bitmaps. Those before may be more, and have the same order. */
static int judge_bitmaps(struct comparison *c, struct qcow2_bitmaps *after,
			 struct q2_directory_walk *before)
{
	const struct qcow2_bitmap_editor *editor = c->r->editor;
	const struct qcow2_bitmap *bitmap;
	int more = 0;

	for (size_t i = 0; i < editor->count; i++) {
		more = qcow2_bitmaps_next(after, &bitmap, c->r->err);
		if (more < 0)
			return -1;
		while (more > 0 && (i == 0 || before->bitmap->index != editor->bitmaps[i]->index) &&
		       (more = q2_directory_walk_next(before, c->r->err)) > 0)
			if (before->bitmap->index == editor->bitmaps[i]->index)
				break;
		if (more < 0)
			return -1;
		if (more == 0)
			return q2_fail(c->r->err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
				       "nothing was changed: after the repair, a bitmap would "
				       "be missing");
		c->before = before->bitmap;
		if (judge_bitmap(c, bitmap, editor->bitmaps[i]->left))
			return -1;
	}
	return 0;
}

static int judge_image(struct comparison *c)
{
	struct q2_bitmap_trust *trust = NULL;
	struct qcow2_bitmaps *after = NULL;
	struct q2_directory_walk before = {.bitmaps = NULL};
	int failed = q2_bitmap_trust_new(c->after_image, c->r->editor->within, &trust, c->r->err) ||
		     qcow2_bitmaps_open(c->after_image, &after, c->r->err) ||
		     q2_directory_walk_open(&before, c->r->editor->image, c->r->err);

	c->after_trust = trust;
	if (!failed)
		failed = judge_bitmaps(c, after, &before);
	q2_directory_walk_close(&before);
	qcow2_bitmaps_close(after);
	q2_bitmap_trust_free(trust);
	return failed ? -1 : 0;
}

int q2_bitmap_repair_judge(struct q2_bitmap_repair_run *r)
{
	struct comparison c = {.r = r};
	struct qcow2_source *view;
	int failed;

	if (r->editor->count == 0)
		return 0;
	if (qcow2_plan_view(r->editor->plan, &view, r->err))
		return -1;
	failed = qcow2_image_open(view, &c.after_image, r->err) || judge_image(&c);
	qcow2_image_close(c.after_image);
	qcow2_source_close(view);
	return failed ? -1 : 0;
}
