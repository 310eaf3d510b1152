/* SPDX-License-Identifier: MIT */
/* See image_info.h. */
#include "info/image_info.h"

#include "common/bitmap_state.h"

#include <qcow2/walk.h>

/* Whether an error says more than that a structure is broken or not there. */
static bool is_failure(const struct qcow2_error *err)
{
	return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY;
}

void info_note(struct info *info, const struct qcow2_error *err)
{
	if (info->failed || !is_failure(err))
		return;
	info->failed = true;
	info->failure = *err;
}

struct qcow2_bytes info_extension_text(const struct qcow2_image *image, uint32_t magic)
{
	struct qcow2_bytes data = {NULL, 0};

	qcow2_image_find_extension(image, magic, &data);
	return data;
}

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct info *info = opaque;
	enum qemu_verdict verdict = qemu_verdict(info->image, problem);

	if (verdict > info->verdict)
		info->verdict = verdict;
	problem_log_add(&info->problems, problem);
	return 0;
}

/* Of the problems of a bitmap, takes those of its table: the walk has told the others. */
static int hear_table(void *opaque, const struct qcow2_problem *problem)
{
	switch (problem->kind->number) {
	case QCOW2_PROBLEM_BITMAP_ENTRY_RESERVED:
	case QCOW2_PROBLEM_BITMAP_ENTRY_ALL_ONES:
	case QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED:
	case QCOW2_PROBLEM_BITMAP_DATA_BEYOND_END:
	case QCOW2_PROBLEM_BITMAP_DATA_TAIL:
		return hear_problem(opaque, problem);
	default:
		return 0;
	}
}

static int examine_each(struct qcow2_bitmaps *bitmaps, const struct bitmap_judge *judge,
			struct qcow2_error *err)
{
	const struct qcow2_bitmap *bitmap;
	struct bitmap_state state;
	int more = 0;

	while (!bitmap_past_stored(bitmaps, qcow2_image_source(judge->image)) &&
	       (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0)
		if (bitmap_state_find(judge, bitmap, &state, err))
			return -1;
	return more < 0 ? -1 : 0;
}

/* Looks at the tables of bitmaps. If the bitmaps bit is clear, they may be anything. */
static int examine_bitmaps(struct info *info, struct qcow2_error *err)
{
	struct bitmap_judge judge = {.image = info->image, .also = hear_table, .opaque = info};
	struct qcow2_bitmaps *bitmaps;
	int failed;

	if (!(qcow2_image_header(info->image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) ||
	    !qcow2_image_geometry(info->image))
		return 0;
	if (qcow2_bitmaps_open(info->image, &bitmaps, err))
		return is_failure(err) ? -1 : 0;
	failed = qcow2_bitmap_health_open(info->image, &judge.health, err) ||
		 examine_each(bitmaps, &judge, err);
	qcow2_bitmap_health_close(judge.health);
	qcow2_bitmaps_close(bitmaps);
	return failed && is_failure(err) ? -1 : 0;
}

int info_examine(struct info *info, struct qcow2_error *err)
{
	static const struct qcow2_visitor listener = {.size = sizeof(listener),
						      .problem = hear_problem};

	if (!info->image)
		return 0;
	if (qcow2_walk(info->image, NULL, QCOW2_WALK_NO_TABLES, &listener, info, err))
		return -1;
	return examine_bitmaps(info, err);
}
