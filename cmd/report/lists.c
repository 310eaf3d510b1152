/* SPDX-License-Identifier: MIT */
/*
 * Snapshots and bitmaps one by one, with what each takes of the file: as many as the page shows. The
 * numbers are those of qcow2 snapshot space and qcow2 bitmap list.
 */
#include <stdlib.h>
#include <string.h>

#include "common/bitmap_state.h"
#include "common/freed.h"
#include "report/report.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/text.h>

/* A file system may report fewer allocated bytes than the file stores. */
#define SLACK_BYTES (UINT64_C(16) << 20)

/* Whether an error says more than that a structure is broken or not there. */
static bool is_failure(const struct qcow2_error *err)
{
	return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY;
}

/* ---- bitmaps ---- */

/* The bitmaps that are looked at. */
struct look {
	struct report *report;
	struct bitmap_judge judge;
	struct report_bitmap *bitmap;
	uint64_t left; /* bytes of tables and data that may still be read */
};

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct look *look = opaque;

	if (problem->kind->number == QCOW2_PROBLEM_BITMAP_DATA_TAIL)
		look->bitmap->remark = problem->kind;
	return 0;
}

static void take_name(struct report_bitmap *bitmap, struct qcow2_bytes name)
{
	bitmap->name_size = name.size < REPORT_NAME_MOST ? name.size : REPORT_NAME_MOST;
	bitmap->name_omitted = name.size - bitmap->name_size;
	if (bitmap->name_size > 0)
		memcpy(bitmap->name, name.data, bitmap->name_size);
}

/* Counts the bits: all bitmaps together may read as much as the file stores. */
static int count(struct look *look, const struct qcow2_bitmap *bitmap, struct qcow2_error *err)
{
	struct qcow2_source *source = qcow2_image_source(look->judge.image);
	const uint64_t before = qcow2_source_read_bytes(source);
	struct report_bitmap *mine = look->bitmap;
	uint64_t cost;

	if (bitmap->cut)
		return 0;
	mine->counted = qcow2_bitmap_count(look->judge.image, &bitmap->entry, look->left,
					   &mine->totals, err) == 0;
	cost = qcow2_source_read_bytes(source) - before;
	look->left -= cost < look->left ? cost : look->left;
	if (mine->counted)
		return 0;
	memcpy(mine->uncounted, err->text, sizeof(mine->uncounted));
	return is_failure(err) ? -1 : 0;
}

static int examine(struct look *look, const struct qcow2_bitmap *bitmap, struct qcow2_error *err)
{
	struct report_lists *lists = &look->report->lists;
	struct bitmap_state state;

	look->bitmap = &lists->bitmaps[lists->bitmap_count];
	*look->bitmap = (struct report_bitmap){.index = bitmap->index, .entry = bitmap->entry};
	take_name(look->bitmap, bitmap->name);
	if (bitmap_state_find(&look->judge, bitmap, &state, err))
		return -1;
	look->bitmap->state = state.word;
	look->bitmap->why = state.why;
	lists->bitmap_count++;
	return count(look, bitmap, err);
}

/* Goes through all of the directory, whose size the numbers of each bitmap depend on. */
static int list_bitmaps(struct look *look, struct qcow2_bitmaps *bitmaps, struct qcow2_error *err)
{
	const struct qcow2_image *image = look->judge.image;
	struct report_lists *lists = &look->report->lists;
	const struct qcow2_bitmap *bitmap;
	int more = 0;

	while (!bitmap_past_stored(bitmaps, qcow2_image_source(image)) &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0) {
		const uint64_t bytes =
			table_bytes_stored(image, bitmap->offset_bytes, bitmap->size_bytes);

		lists->directory_bytes += bytes;
		if (lists->bitmap_count == REPORT_ROWS_MOST)
			continue;
		lists->entry_bytes[lists->bitmap_count] = bytes;
		if (examine(look, bitmap, err))
			return -1;
	}
	return more < 0 ? -1 : 0;
}

static int look_at_bitmaps(struct report *report, struct qcow2_error *err)
{
	struct look look = {.report = report,
			    .judge = {.image = report->shown, .also = hear},
			    .left = qcow2_source_allocated_bytes(report->source) + SLACK_BYTES};
	struct qcow2_bitmaps *bitmaps;
	int failed;

	look.judge.opaque = &look;
	report->lists.bitmaps = calloc(REPORT_ROWS_MOST, sizeof(*report->lists.bitmaps));
	if (!report->lists.bitmaps) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	if (qcow2_bitmaps_open(report->shown, &bitmaps, err))
		return is_failure(err) ? -1 : 0;
	report->lists.bitmaps_total = qcow2_bitmaps_header(bitmaps)->nb_bitmaps;
	failed = qcow2_bitmap_health_open(report->shown, &look.judge.health, err) ||
		 list_bitmaps(&look, bitmaps, err);
	qcow2_bitmap_health_close(look.judge.health);
	qcow2_bitmaps_close(bitmaps);
	return failed ? -1 : 0;
}

/* ---- what they take ---- */

static void take_snapshot(struct report *report, const struct qcow2_usage_user *user)
{
	const struct snapshot_table *table = &report->lists.snapshots;
	struct report_space *space = &report->lists.snapshot_space[user->index];
	const uint64_t freed = freed_with_table(table, &user->index, 1, user->exclusive_bytes);

	*space = (struct report_space){true, user->referenced_bytes, freed, user->vm_state_bytes};
	if (freed > user->exclusive_bytes)
		space->referenced_bytes += freed - user->exclusive_bytes;
}

static void take_bitmap(struct report *report, const struct qcow2_usage_user *user)
{
	struct report_lists *lists = &report->lists;
	const uint64_t freed = freed_of_directory(report->image, lists->directory_bytes,
						  lists->entry_bytes[user->index]);

	lists->bitmaps[user->index].space = (struct report_space){
		true, user->referenced_bytes + freed, user->exclusive_bytes + freed, 0};
}

/* Bitmaps that the header does not vouch for are no users. */
static void take_users(struct report *report)
{
	const struct report_lists *lists = &report->lists;
	const uint64_t users = qcow2_usage_user_count(report->layout.usage);

	for (uint64_t i = 0; i < users; i++) {
		const struct qcow2_usage_user *user = qcow2_usage_user_at(report->layout.usage, i);

		if (user->part_of == QCOW2_PART_OF_SNAPSHOT && user->index < REPORT_ROWS_MOST &&
		    user->index < lists->snapshots.count)
			take_snapshot(report, user);
		else if (user->part_of == QCOW2_PART_OF_BITMAP && user->index < lists->bitmap_count)
			take_bitmap(report, user);
	}
}

int report_look_at_lists(struct report *report, struct qcow2_error *err)
{
	if (snapshot_table_read(&report->lists.snapshots, report->shown, err) ||
	    look_at_bitmaps(report, err))
		return -1;
	if (report->has_layout)
		take_users(report);
	return 0;
}

void report_release_lists(struct report_lists *lists)
{
	snapshot_table_release(&lists->snapshots);
	free(lists->bitmaps);
	lists->bitmaps = NULL;
}
