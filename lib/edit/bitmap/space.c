/* SPDX-License-Identifier: MIT */
/*
 * Where what is new of bitmaps goes. A file grows if there is need; on a device that is full, what
 * the change itself gives up is used again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "check/check.h"
#include "edit/area.h"
#include "edit/bitmap/editor.h"

/* ---- taking ---- */

/* Of the new table of a bitmap; 0: it has none. */
static uint64_t table_clusters(const struct qcow2_bitmap_editor *editor,
			       const struct q2_edited_bitmap *bitmap)
{
	return bitmap->entries ? q2_div_ceil_u64(bitmap->entry_count * 8,
						 editor->geometry->cluster_size_bytes)
			       : 0;
}

static int place_table(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		       struct qcow2_error *err)
{
	uint64_t clusters = table_clusters(editor, bitmap);

	bitmap->entry.bitmap_table_size = (uint32_t)bitmap->entry_count;
	return q2_allocator_take(editor->allocator, clusters, &bitmap->entry.bitmap_table_offset,
				 err);
}

/* Data in runs of most clusters; their entries say where they are. */
static int place_data(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      size_t most, struct qcow2_error *err)
{
	uint64_t offset, at = 0;

	for (;;) {
		size_t count = 0;

		for (uint64_t i = at; i < bitmap->entry_count && count < most; i++)
			count += bitmap->data[i] != NULL;
		if (count == 0)
			return 0;
		if (q2_allocator_take(editor->allocator, count, &offset, err))
			return -1;
		for (; count > 0; at++) {
			if (!bitmap->data[at])
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

	return clusters > 0 ? q2_allocator_take(editor->allocator, clusters, directory, err) : 0;
}

/* Each bitmap's data and its table side by side, as far as there is room. */
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

/* The largest part that has to lie side by side and is smaller than below clusters; 0: none. */
static uint64_t next_smaller(const struct qcow2_bitmap_editor *editor, uint64_t below)
{
	uint64_t most = 0;

	if (editor->needs.directory_clusters < below)
		most = editor->needs.directory_clusters;
	for (size_t i = 0; i < editor->count; i++) {
		uint64_t clusters = table_clusters(editor, editor->bitmaps[i]);

		if (clusters > most && clusters < below)
			most = clusters;
	}
	return most;
}

/*
 * First what has to lie side by side, the largest first, so that each fits where its like was; then
 * data cluster by cluster into what is left.
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
			if (table_clusters(editor, editor->bitmaps[i]) == size &&
			    place_table(editor, editor->bitmaps[i], err))
				return -1;
	}
	for (size_t i = 0; i < editor->count; i++)
		if (editor->bitmaps[i]->entries && place_data(editor, editor->bitmaps[i], 1, err))
			return -1;
	return 0;
}

/* ---- what may be used again ---- */

/*
 * The image with nothing of what is given up: the bitmaps that stay, and of those that change the
 * data that their new tables still refer to. It is made behind the end of the image, is checked
 * there, and is forgotten.
 */
struct rest {
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan *plan;
	uint64_t end; /* of the planned file */
	struct qcow2_error *err;
};

/* Adds clusters behind the end. */
static int append(struct rest *rest, const uint8_t *bytes, uint64_t size, uint64_t *offset)
{
	uint64_t cluster = rest->editor->geometry->cluster_size_bytes;

	*offset = rest->end;
	rest->end += q2_div_ceil_u64(size, cluster) * cluster;
	return qcow2_plan_write(rest->plan, QCOW2_PHASE_NEW, *offset,
				(struct qcow2_bytes){bytes, (size_t)size}, "a copy", rest->err);
}

/* A table with all entries but those that get new data. */
static int append_table(struct rest *rest, const struct q2_edited_bitmap *bitmap, uint64_t *offset)
{
	uint8_t *raw = q2_alloc_array((size_t)bitmap->entry_count, 8);
	int failed;

	if (!raw)
		return q2_fail_memory(rest->err);
	for (uint64_t i = 0; i < bitmap->entry_count; i++)
		if (!bitmap->data[i])
			q2_store_be64(raw + i * 8, bitmap->entries[i]);
	failed = append(rest, raw, bitmap->entry_count * 8, offset);
	q2_free(raw);
	return failed;
}

static int append_directory(struct rest *rest, uint64_t *offset)
{
	uint8_t *raw = q2_alloc_array((size_t)rest->editor->needs.directory_bytes, 1);
	uint64_t at = 0;
	int failed = 0;

	if (!raw)
		return q2_fail_memory(rest->err);
	for (size_t i = 0; i < rest->editor->count && !failed; i++) {
		struct q2_edited_bitmap copy = *rest->editor->bitmaps[i];

		if (copy.entries) {
			copy.entry.bitmap_table_size = (uint32_t)copy.entry_count;
			failed = append_table(rest, &copy, &copy.entry.bitmap_table_offset);
		}
		q2_edited_put_entry(raw + at, &copy);
		at += q2_edited_entry_size(&copy);
	}
	if (!failed)
		failed = append(rest, raw, at, offset);
	q2_free(raw);
	return failed;
}

/* The header of the rest leads to its directory, whatever the image's does. */
static int lead(struct rest *rest)
{
	uint64_t count = rest->editor->count, offset = 0;
	struct qcow2_bitmaps_extension extension = {.nb_bitmaps = (uint32_t)count};
	uint8_t data[sizeof(extension)];
	struct q2_area area;
	int failed = count > 0 && append_directory(rest, &offset);

	if (failed)
		return -1;
	extension.bitmap_directory_size = rest->editor->needs.directory_bytes;
	extension.bitmap_directory_offset = offset;
	qcow2_bitmaps_extension_encode(&extension, data, sizeof(data));
	failed = q2_area_open(&area, rest->plan, rest->err);
	if (!failed) {
		q2_area_remove(&area, QCOW2_EXTENSION_BITMAPS);
		area.autoclear_features &= ~QCOW2_AUTOCLEAR_BITMAPS;
		if (count > 0) {
			q2_area_insert(&area, area.count, QCOW2_EXTENSION_BITMAPS,
				       (struct qcow2_bytes){data, sizeof(data)});
			area.autoclear_features |= QCOW2_AUTOCLEAR_BITMAPS;
		}
		failed = q2_area_plan(&area, rest->plan, "a copy", rest->err);
	}
	q2_area_close(&area);
	return failed;
}

/* Who hears of the clusters that nothing of the rest refers to. */
struct reclaim {
	struct q2_vector *given_up; /* rising */
	struct q2_vector unused;
	unsigned cluster_bits;
	bool failed;
};

static int compare_clusters(const void *a, const void *b)
{
	uint64_t left, right;

	memcpy(&left, a, sizeof(left));
	memcpy(&right, b, sizeof(right));
	return left < right ? -1 : left > right;
}

static bool is_given_up(const void *opaque, uint64_t cluster)
{
	const struct reclaim *reclaim = opaque;

	return bsearch(&cluster, reclaim->given_up->data, reclaim->given_up->count, sizeof(cluster),
		       compare_clusters) != NULL;
}

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct reclaim *reclaim = opaque;
	uint64_t cluster = problem->cluster_offset_bytes >> reclaim->cluster_bits;

	if (problem->expected == 0 &&
	    q2_vector_push(&reclaim->unused, &cluster) != QCOW2_ERROR_NONE)
		reclaim->failed = true;
	return 0;
}

/* Only what a check that found nothing wrong calls unused is so. */
static int check_rest(struct rest *rest, struct reclaim *reclaim)
{
	const struct qcow2_check_options how = {
		.only = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_HIGH),
		.wants_cluster = is_given_up,
		.problem = hear,
		.opaque = reclaim,
	};
	struct q2_check_totals totals = {.sum = {.clusters_checked = false}};
	struct qcow2_source *view;
	struct qcow2_image *image;
	int failed;

	if (qcow2_plan_view(rest->plan, &view, rest->err))
		return -1;
	failed = qcow2_image_open(view, &image, rest->err);
	if (!failed) {
		failed = q2_check(image, &how, &totals, rest->err);
		qcow2_image_close(image);
	}
	qcow2_source_close(view);
	if (!failed && reclaim->failed)
		failed = q2_fail_memory(rest->err);
	if (!totals.sum.clusters_checked || totals.sum.corruptions > 0)
		q2_vector_clear(&reclaim->unused);
	return failed;
}

static int find_unused(struct qcow2_bitmap_editor *editor, struct reclaim *reclaim,
		       struct qcow2_error *err)
{
	struct rest rest = {.editor = editor, .err = err};
	int failed;

	if (editor->given_up.count == 0)
		return 0;
	qsort(editor->given_up.data, editor->given_up.count, sizeof(uint64_t), compare_clusters);
	if (qcow2_plan_open(editor->view, &rest.plan, err))
		return -1;
	rest.end = q2_div_ceil_u64(editor->geometry->file_size_bytes,
				   editor->geometry->cluster_size_bytes)
		   << editor->geometry->cluster_bits;
	failed = lead(&rest) || check_rest(&rest, reclaim) ? -1 : 0;
	qcow2_plan_close(rest.plan);
	if (reclaim->unused.count > 0)
		qsort(reclaim->unused.data, reclaim->unused.count, sizeof(uint64_t),
		      compare_clusters);
	return failed;
}

/* ---- full ---- */

/* How many clusters a bitmap that stays as it is has, as far as its table can be read. */
static uint64_t count_clusters(struct qcow2_bitmap_editor *editor,
			       const struct q2_edited_bitmap *bitmap, struct qcow2_table *table)
{
	uint64_t there = qcow2_table_begin(table, bitmap->entry.bitmap_table_offset,
					   bitmap->entry.bitmap_table_size);
	uint64_t count = q2_div_ceil_u64(there * 8, editor->geometry->cluster_size_bytes);
	uint64_t entry;

	for (uint64_t i = 0; i < there && editor->unread_entries > 0; i++) {
		editor->unread_entries--;
		if (qcow2_table_entry(table, i, &entry, NULL))
			break;
		count += qcow2_bitmap_table_entry_decode(entry).offset != 0;
	}
	return count;
}

/* The bitmap whose removal would give most; NULL if there is none. */
static const struct q2_edited_bitmap *find_largest(struct qcow2_bitmap_editor *editor,
						   uint64_t *clusters)
{
	const struct q2_edited_bitmap *largest = NULL;
	struct qcow2_table *table;

	*clusters = 0;
	if (qcow2_table_new(editor->image, &table, NULL))
		return NULL;
	for (size_t i = 0; i < editor->count; i++) {
		uint64_t count = editor->bitmaps[i]->stored
					 ? count_clusters(editor, editor->bitmaps[i], table)
					 : 0;

		if (count <= *clusters)
			continue;
		largest = editor->bitmaps[i];
		*clusters = count;
	}
	qcow2_table_free(table);
	return largest;
}

/*
 * What would make room. Not qemu-img check -r: whenever QEMU has written to an image, it stores all
 * bitmaps anew before it frees the old ones; on a device that is full, they are all lost.
 */
static void advise(struct qcow2_bitmap_editor *editor, bool distrusted, char *text, size_t size)
{
	const struct q2_edited_bitmap *largest;
	struct q2_check_totals totals;
	char name[40];
	uint64_t clusters;

	if (distrusted) {
		snprintf(text, size, "enlarge the device: its refcounts cannot be trusted");
		return;
	}
	if (q2_check(editor->image, NULL, &totals, NULL) == 0 && totals.sum.leaks > 0) {
		snprintf(text, size,
			 "%" PRIu64 " leaked ('qcow2 check' shows them), or enlarge the device",
			 totals.sum.leaks);
		return;
	}
	largest = find_largest(editor, &clusters);
	if (!largest) {
		snprintf(text, size, "enlarge the device (lvextend)");
		return;
	}
	qcow2_text_escape(q2_edited_name(largest), name, sizeof(name));
	snprintf(text, size, "removing bitmap '%s' would free %" PRIu64 ", or enlarge the device",
		 name, clusters);
}

/* Says what is missing. The allocator is one that has taken nothing yet. */
static int fail_full(struct qcow2_bitmap_editor *editor, bool distrusted, struct qcow2_error *err)
{
	uint64_t cluster = editor->geometry->cluster_size_bytes, found, needed;
	char advice[128];

	if (q2_allocator_count_free(editor->allocator, &found, err))
		return -1;
	needed = editor->needs.clusters;
	advise(editor, distrusted, advice, sizeof(advice));
	return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
		       "the device is full: %" PRIu64 " clusters (%" PRIu64
		       " bytes) are needed%s, %" PRIu64 " can be had; %s",
		       needed, needed * cluster,
		       found >= needed ? ", some side by side or for refcounts" : "", found,
		       advice);
}

/* ---- both ---- */

/* Anew: nothing is taken. unused, which may be NULL, is lent. */
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

/* Once more, with what the change gives up. */
static int place_again(struct qcow2_bitmap_editor *editor, bool distrusted, uint64_t *directory,
		       struct qcow2_error *err)
{
	struct reclaim reclaim = {.given_up = &editor->given_up,
				  .cluster_bits = editor->geometry->cluster_bits};
	int failed;

	q2_vector_init(&reclaim.unused, sizeof(uint64_t), SIZE_MAX / sizeof(uint64_t));
	failed = (!distrusted && find_unused(editor, &reclaim, err)) ||
		 open_allocator(editor, distrusted, &reclaim.unused, err);
	if (!failed && place_tightly(editor, directory, err)) {
		failed = -1;
		if (q2_allocator_is_full(editor->allocator) &&
		    open_allocator(editor, distrusted, &reclaim.unused, err) == 0)
			(void)fail_full(editor, distrusted, err);
	}
	editor->reuses = reclaim.unused.count > 0;
	q2_vector_release(&reclaim.unused);
	return failed ? -1 : 0;
}

int q2_bitmaps_place(struct qcow2_bitmap_editor *editor, bool distrusted, uint64_t *directory,
		     struct qcow2_error *err)
{
	if (open_allocator(editor, distrusted, NULL, err))
		return -1;
	if (place_neatly(editor, directory, err) == 0)
		return 0;
	return q2_allocator_is_full(editor->allocator)
		       ? place_again(editor, distrusted, directory, err)
		       : -1;
}
