/* SPDX-License-Identifier: MIT */
/* See given_up.h. */
#include "edit/bitmap/given_up.h"

#include <stdlib.h>
#include <string.h>

#include <qcow2/entry.h>

#include "base/error.h"
#include "edit/bitmap_trust/answers.h"

#define GIVEN_UP_MOST ((size_t)1 << 27)

void q2_given_up_init(struct q2_vector *clusters)
{
	q2_vector_init(clusters, sizeof(uint64_t), GIVEN_UP_MOST);
}

int q2_give_up_clusters(struct qcow2_bitmap_editor *editor, uint64_t offset, uint64_t size,
			struct qcow2_error *err)
{
	unsigned bits = editor->geometry->cluster_bits;
	uint64_t end = editor->geometry->file_size_bytes;

	if (offset >= end || size == 0)
		return 0;
	if (size < end - offset)
		end = offset + size;
	/*
	 * A damaged pointer may lead into the middle of a cluster, and then touches one cluster
	 * more.
	 */
	for (uint64_t number = offset >> bits; number <= (end - 1) >> bits; number++) {
		if (q2_vector_push(&editor->given_up, &number) != QCOW2_ERROR_NONE)
			return q2_fail_memory(err);
	}
	return 0;
}

int q2_bitmap_give_up(struct qcow2_bitmap_editor *editor, struct q2_edited_bitmap *bitmap,
		      struct qcow2_error *err)
{
	uint64_t cluster = editor->geometry->cluster_size_bytes, there, entry;
	struct qcow2_table *table;
	int failed = 0;

	if (!bitmap->stored)
		return 0;
	bitmap->stored = false;
	/*
	 * Bytes that are no table may name any cluster, even one that its owner has lost the
	 * pointer to.
	 */
	if (bitmap->entry.bitmap_table_offset == 0 ||
	    bitmap->entry.bitmap_table_offset % cluster != 0 ||
	    (editor->trust && !q2_trust_table(editor->trust, bitmap->index)))
		return 0;
	if (qcow2_table_open(editor->image, &table, err))
		return -1;
	there = qcow2_table_begin(table, bitmap->entry.bitmap_table_offset,
				  bitmap->entry.bitmap_table_size);
	if (there > editor->unread_entries)
		there = editor->unread_entries;
	editor->unread_entries -= there;
	failed = q2_give_up_clusters(editor, bitmap->entry.bitmap_table_offset, there * 8, err);
	for (uint64_t i = 0; i < there && !failed; i++) {
		uint64_t offset;

		failed = qcow2_table_entry(table, i, &entry, err);
		offset = failed ? 0 : qcow2_bitmap_table_entry_decode(entry).offset;
		if (offset != 0)
			failed = q2_give_up_clusters(editor, offset, cluster, err);
	}
	qcow2_table_close(table);
	return failed;
}

static int compare(const void *a, const void *b)
{
	uint64_t left, right;

	memcpy(&left, a, sizeof(left));
	memcpy(&right, b, sizeof(right));
	return left < right ? -1 : left > right;
}

void q2_clusters_sort(struct q2_vector *clusters)
{
	if (clusters->count > 0)
		qsort(clusters->data, clusters->count, sizeof(uint64_t), compare);
}

bool q2_clusters_have(const struct q2_vector *clusters, uint64_t cluster)
{
	return clusters->count > 0 &&
	       bsearch(&cluster, clusters->data, clusters->count, sizeof(cluster), compare) != NULL;
}

int q2_find_leaks(struct qcow2_plan *plan, const struct q2_leak_search *search,
		  struct q2_check_totals *totals, struct qcow2_error *err)
{
	const struct qcow2_check_options how = {
		.only = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_HIGH),
		.wants_cluster = search->wants,
		.problem = search->leak,
		.opaque = search->opaque,
	};
	struct qcow2_source *view;
	struct qcow2_image *image;
	int failed;

	if (qcow2_plan_view(plan, &view, err))
		return -1;
	failed = qcow2_image_open(view, &image, err);
	if (!failed) {
		failed = q2_check(image, &how, totals, err);
		qcow2_image_close(image);
	}
	qcow2_source_close(view);
	return failed;
}
