/* SPDX-License-Identifier: MIT */
/* See place.h. */
#include "edit/bitmap/place.h"

#include "edit/bitmap/bits.h"
#include "edit/bitmap/full.h"
#include "edit/bitmap/given_up.h"
#include "edit/bitmap/reclaim.h"
#include "plan/allocator.h"

/* Takes clusters side by side. */
static int take(struct qcow2_bitmap_editor *editor, uint64_t count, uint64_t *offset_bytes,
		struct qcow2_error *err)
{
	const struct q2_bitmap_within *within = editor->within;

	return within ? within->take(within->opaque, count, offset_bytes, err)
		      : q2_allocator_take(editor->allocator, count, offset_bytes, err);
}

static int place_table(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       struct qcow2_error *err)
{
	uint64_t clusters = q2_edited_table_clusters(editor, bitmap);

	bitmap->entry.bitmap_table_size = (uint32_t)bitmap->entry_count;
	return take(editor, clusters, &bitmap->entry.bitmap_table_offset, err);
}

/* Places a bitmap's data in runs of up to `most` clusters, and notes the places in the entries. */
static int place_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      size_t most, struct qcow2_error *err)
{
	uint64_t offset, at = 0;

	for (;;) {
		size_t count = 0;

		for (uint64_t i = at; i < bitmap->entry_count && count < most; i++)
			count += q2_edited_has_data(bitmap, i);
		if (count == 0)
			return 0;
		if (take(editor, count, &offset, err))
			return -1;
		for (; count > 0; at++) {
			if (!q2_edited_has_data(bitmap, at))
				continue;
			bitmap->entries[at] = offset;
			offset += editor->geometry->cluster_size_bytes;
			count--;
		}
	}
}

static int place_directory(struct qcow2_bitmap_editor *editor, uint64_t *directory,
			   struct qcow2_error *err)
{
	uint64_t clusters = editor->needs.directory_clusters;

	return clusters > 0 ? take(editor, clusters, directory, err) : 0;
}

/* Places each bitmap's data and table side by side, as far as there is room. */
static int place_neatly(struct qcow2_bitmap_editor *editor, uint64_t *directory,
			struct qcow2_error *err)
{
	size_t cluster = (size_t)editor->geometry->cluster_size_bytes;
	size_t most = cluster < Q2_BITMAP_RUN_BYTES ? Q2_BITMAP_RUN_BYTES / cluster : 1;

	for (size_t i = 0; i < editor->count; i++)
		if (editor->bitmaps[i]->entries &&
		    (place_data(editor, editor->bitmaps[i], most, err) ||
		     place_table(editor, editor->bitmaps[i], err)))
			return -1;
	return place_directory(editor, directory, err);
}

/*
 * Returns the size of the largest part that is smaller than `below` clusters and has to lie side by
 * side; 0 if there is none.
 */
static uint64_t next_smaller(const struct qcow2_bitmap_editor *editor, uint64_t below)
{
	uint64_t most = 0;

	if (editor->needs.directory_clusters < below)
		most = editor->needs.directory_clusters;
	for (size_t i = 0; i < editor->count; i++) {
		uint64_t clusters = q2_edited_table_clusters(editor, editor->bitmaps[i]);

		if (clusters > most && clusters < below)
			most = clusters;
	}
	return most;
}

/*
 * Places tables and the directory first, the largest first, so that each fits where one of its size
 * was; then data, cluster by cluster, in the gaps.
 */
static int place_tightly(struct qcow2_bitmap_editor *editor, uint64_t *directory,
			 struct qcow2_error *err)
{
	uint64_t size = UINT64_MAX;

	while ((size = next_smaller(editor, size)) > 0) {
		if (editor->needs.directory_clusters == size &&
		    place_directory(editor, directory, err))
			return -1;
		for (size_t i = 0; i < editor->count; i++)
			if (q2_edited_table_clusters(editor, editor->bitmaps[i]) == size &&
			    place_table(editor, editor->bitmaps[i], err))
				return -1;
	}
	for (size_t i = 0; i < editor->count; i++)
		if (editor->bitmaps[i]->entries && place_data(editor, editor->bitmaps[i], 1, err))
			return -1;
	return 0;
}

/*
 * Opens an allocator that has taken nothing. The clusters in `unused`, if it is not NULL, are lent
 * to it.
 */
static int open_allocator(struct qcow2_bitmap_editor *editor, bool distrusted,
			  const struct q2_vector *unused, struct qcow2_error *err)
{
	q2_allocator_close(editor->allocator);
	editor->allocator = NULL;
	if (q2_allocator_open(editor->plan, editor->image, distrusted, &editor->allocator, err))
		return -1;
	return unused ? q2_allocator_lend(editor->allocator, (const void *)unused->data,
					  unused->count, err)
		      : 0;
}

/* Places everything once more, with the clusters that the change gives up. */
static int place_again(struct qcow2_bitmap_editor *editor, bool distrusted, uint64_t *directory,
		       struct qcow2_error *err)
{
	struct q2_vector unused;
	int failed;

	q2_given_up_init(&unused);
	failed = (!distrusted && q2_bitmaps_find_unused(editor, &unused, err)) ||
		 open_allocator(editor, distrusted, &unused, err);
	if (!failed && place_tightly(editor, directory, err)) {
		failed = -1;
		if (q2_allocator_is_full(editor->allocator) &&
		    open_allocator(editor, distrusted, &unused, err) == 0)
			(void)q2_bitmaps_fail_full(editor, distrusted, err);
	}
	editor->reuses = unused.count > 0;
	q2_vector_release(&unused);
	return failed ? -1 : 0;
}

int q2_bitmaps_place(struct qcow2_bitmap_editor *editor, bool distrusted, uint64_t *directory,
		     struct qcow2_error *err)
{
	if (editor->within)
		return place_neatly(editor, directory, err);
	if (open_allocator(editor, distrusted, NULL, err))
		return -1;
	if (place_neatly(editor, directory, err) == 0)
		return 0;
	return q2_allocator_is_full(editor->allocator)
		       ? place_again(editor, distrusted, directory, err)
		       : -1;
}
