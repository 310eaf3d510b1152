/* SPDX-License-Identifier: MIT */
/* See full.h. */
#include "edit/bitmap/full.h"

#include <inttypes.h>
#include <stdio.h>

#include <qcow2/entry.h>
#include <qcow2/text.h>

#include "base/checked.h"
#include "base/error.h"
#include "check/check.h"
#include "edit/bitmap/list.h"
#include "plan/allocator.h"

/* Returns how many clusters a stored bitmap has, as far as its table can be read. */
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

/* Returns the bitmap whose removal would free most clusters; NULL if there is none. */
static const struct q2_edited_bitmap *find_largest(struct qcow2_bitmap_editor *editor,
						   uint64_t *clusters)
{
	const struct q2_edited_bitmap *largest = NULL;
	struct qcow2_table *table;

	*clusters = 0;
	if (qcow2_table_open(editor->image, &table, NULL))
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
	qcow2_table_close(table);
	return largest;
}

/*
 * Says what would make room. It never names qemu-img check -r: whenever QEMU has written to an
 * image, it stores all bitmaps anew before it frees the old ones, and on a full device they are all
 * lost.
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

int q2_bitmaps_fail_full(struct qcow2_bitmap_editor *editor, bool distrusted,
			 struct qcow2_error *err)
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
