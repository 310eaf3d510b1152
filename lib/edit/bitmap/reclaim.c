/* SPDX-License-Identifier: MIT */
/* See reclaim.h. */
#include "edit/bitmap/reclaim.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/area.h"
#include "edit/bitmap/bits.h"
#include "edit/bitmap/entry.h"
#include "edit/bitmap/given_up.h"

/*
 * The image without anything that is given up: the bitmaps that do not change, and, of those that
 * change, the stored data that their new tables still refer to. Its tables are laid out in a plan
 * behind the end of the image. A check of it shows which of the clusters that are given up have no
 * other user; then it is forgotten.
 */
struct rest {
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan *plan;
	uint64_t end; /* of the planned file */
	struct qcow2_error *err;
};

/* Appends clusters to that image. */
static int append(struct rest *rest, const uint8_t *bytes, uint64_t size, uint64_t *offset)
{
	uint64_t cluster = rest->editor->geometry->cluster_size_bytes;

	*offset = rest->end;
	rest->end += q2_div_ceil_u64(size, cluster) * cluster;
	return qcow2_plan_write(rest->plan, QCOW2_PHASE_NEW, *offset,
				(struct qcow2_bytes){bytes, (size_t)size}, "a copy", rest->err);
}

/* Appends a bitmap's table, without the entries that get new data. */
static int append_table(struct rest *rest, const struct q2_edited_bitmap *bitmap, uint64_t *offset)
{
	uint8_t *raw = q2_alloc_array((size_t)bitmap->entry_count, 8);
	int failed;

	if (!raw)
		return q2_fail_memory(rest->err);
	for (uint64_t i = 0; i < bitmap->entry_count; i++)
		if (!q2_edited_has_data(bitmap, i))
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

/* Points the header of that image to its directory, whatever the real header points to. */
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

/* What hears of clusters that nothing of that image refers to. */
struct search {
	const struct q2_vector *given_up; /* sorted */
	struct q2_vector *unused;
	unsigned cluster_bits;
	bool short_of_memory;
};

static bool is_given_up(const void *opaque, uint64_t cluster)
{
	return q2_clusters_have(((const struct search *)opaque)->given_up, cluster);
}

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct search *search = opaque;
	uint64_t cluster = problem->cluster_offset_bytes >> search->cluster_bits;

	if (problem->expected == 0 && q2_vector_push(search->unused, &cluster) != QCOW2_ERROR_NONE)
		search->short_of_memory = true;
	return 0;
}

/* A check that finds anything corrupt proves nothing: then no cluster is unused. */
static int check_rest(struct rest *rest, struct search *search)
{
	const struct q2_leak_search how = {is_given_up, hear, search};
	struct q2_check_totals totals = {.sum = {.clusters_checked = false}};
	int failed = q2_find_leaks(rest->plan, &how, &totals, rest->err);

	if (!failed && search->short_of_memory)
		failed = q2_fail_memory(rest->err);
	if (!totals.sum.clusters_checked || totals.sum.corruptions > 0)
		q2_vector_clear(search->unused);
	return failed;
}

int q2_bitmaps_find_unused(struct qcow2_bitmap_editor *editor, struct q2_vector *unused,
			   struct qcow2_error *err)
{
	struct rest rest = {.editor = editor, .err = err};
	struct search search = {.given_up = &editor->given_up,
				.unused = unused,
				.cluster_bits = editor->geometry->cluster_bits};
	int failed;

	if (editor->given_up.count == 0)
		return 0;
	q2_clusters_sort(&editor->given_up);
	if (qcow2_plan_open(editor->view, &rest.plan, err))
		return -1;
	rest.end = q2_div_ceil_u64(editor->geometry->file_size_bytes,
				   editor->geometry->cluster_size_bytes)
		   << editor->geometry->cluster_bits;
	failed = lead(&rest) || check_rest(&rest, &search) ? -1 : 0;
	qcow2_plan_close(rest.plan);
	q2_clusters_sort(unused);
	return failed;
}
