/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes dirty bitmaps: the directory, tables and data of any image are read as extents, changed by
 * commands from the last bytes, and repaired. Extents must cover the disk without gaps; an image
 * that was sound must be sound after what a plan does; and a repair that drops what it cannot mend
 * must leave a directory that can be edited, and nothing to repair.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#include "mutator/mutator.h"
#include "source/source.h"

#define COMMAND_BYTES 4
#define COMMANDS      6
#define IMAGE_MOST    ((size_t)1 << 18)
#define EXTENTS_MOST  100000
#define NAMES_MOST    64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const size_t fuzz_command_bytes = COMMANDS * COMMAND_BYTES;

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	(void)opaque;
	if (!problem->kind)
		abort();
	return 0;
}

/* ---- reading ---- */

static void read_extents(const struct qcow2_image *image,
			 const struct qcow2_bitmap_dir_entry *entry)
{
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent extent, last = {0, 0, false};
	struct qcow2_error err;
	unsigned count = 0;
	int more;

	if (qcow2_dirty_extents_open(image, entry, entry->flags & QCOW2_DIRTY_EXTENTS_LENIENT,
				     &extents, &err))
		return;
	while ((more = qcow2_dirty_extents_next(extents, &extent, &err)) > 0 &&
	       count++ < EXTENTS_MOST) {
		if (extent.length_bytes == 0 ||
		    extent.start_bytes != last.start_bytes + last.length_bytes ||
		    (count > 1 && extent.dirty == last.dirty))
			abort();
		last = extent;
	}
	if (more == 0 &&
	    last.start_bytes + last.length_bytes != qcow2_dirty_extents_size_bytes(extents))
		abort();
	qcow2_dirty_extents_close(extents);
}

static void read_all(const struct qcow2_image *image)
{
	struct qcow2_bitmap_health *health;
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error err;

	if (qcow2_bitmaps_open(image, &bitmaps, &err))
		return;
	if (qcow2_bitmap_health_open(image, &health, &err) == 0) {
		for (unsigned i = 0;
		     i < NAMES_MOST && qcow2_bitmaps_next(bitmaps, &bitmap, &err) > 0; i++) {
			(void)qcow2_bitmap_health_examine(health, bitmap, hear, NULL, &err);
			if (!bitmap->cut)
				read_extents(image, &bitmap->entry);
		}
		qcow2_bitmap_health_close(health);
	}
	qcow2_bitmaps_close(bitmaps);
}

/* ---- changing ---- */

/* Whether what a source holds has no problem but warnings. */
static bool is_sound(struct qcow2_source *source)
{
	const struct qcow2_check_options how = {.size = sizeof(how), .threads = 1};
	struct qcow2_check_result *result = NULL;
	struct qcow2_image *image;
	struct qcow2_error err;
	bool sound;

	if (qcow2_image_open(source, &image, &err))
		return false;
	sound = qcow2_check(image, &how, &result, &err) == 0 && result->clusters_checked &&
		result->corruptions == 0 && result->leaks == 0;
	qcow2_check_result_free(result);
	qcow2_image_close(image);
	return sound;
}

static void judge_plan(struct qcow2_plan *plan, struct qcow2_source *source)
{
	struct qcow2_source *view;

	if (!is_sound(source))
		return;
	if (qcow2_plan_view(plan, &view, NULL) || !is_sound(view))
		abort();
	qcow2_source_close(view);
}

static void run_command(struct qcow2_bitmap_editor *editor, const uint8_t *c)
{
	static const char *const names[] = {"b0", "a", "b", "new", "enabled", "fine", "x", "y"};
	const char *name = names[c[1] % 8], *other = names[c[2] % 8];
	struct qcow2_bytes bytes = {(const uint8_t *)name, strlen(name)};
	struct qcow2_bytes others = {(const uint8_t *)other, strlen(other)};
	struct qcow2_error err;

	switch (c[0] % 8) {
	case 0:
		(void)qcow2_bitmap_add(editor, bytes, UINT64_C(1) << (12 + c[3] % 20), c[2] & 1,
				       &err);
		break;
	case 1:
		(void)qcow2_bitmap_remove(editor, bytes, &err);
		break;
	case 2:
		(void)qcow2_bitmap_clear(editor, bytes, &err);
		break;
	case 3:
		(void)qcow2_bitmap_enable(editor, bytes, c[2] & 1, &err);
		break;
	case 4:
		(void)qcow2_bitmap_rename(editor, bytes, others, &err);
		break;
	case 5:
		(void)qcow2_bitmap_import(editor, bytes, (struct qcow2_bytes){c, c[3] % 5}, &err);
		break;
	default:
		(void)qcow2_bitmap_merge(editor, others, bytes, &err);
	}
}

/* What the file of the image is: one that can grow, or a device, full or not. */
static void make_device(struct qcow2_source *source, struct q2_source_backend *backend)
{
	*backend = *source->backend;
	backend->fixed_size = true;
	source->backend = backend;
}

static void change(struct qcow2_source *source, const uint8_t *commands)
{
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan *plan;
	struct qcow2_error err;

	if (qcow2_plan_open(source, &plan, &err))
		abort();
	if (qcow2_bitmap_editor_open(plan, &editor, &err) == 0) {
		for (unsigned i = 0; i < COMMANDS; i++)
			run_command(editor, commands + (size_t)i * COMMAND_BYTES);
		if (qcow2_bitmap_editor_finish(editor, &err) == 0)
			judge_plan(plan, source);
		qcow2_bitmap_editor_close(editor);
	}
	qcow2_plan_close(plan);
}

/* ---- repairing ---- */

static int tell(void *opaque, const struct qcow2_bitmap_treatment *repair)
{
	unsigned *needed = opaque;

	if (!repair->cost || repair->cost[0] == '\0')
		abort();
	*needed += repair->remedy == QCOW2_BITMAP_REMEDY_NEEDED;
	return 0;
}

/* Where clusters have two owners, a plan may write to one of them; nobody would apply it. */
static bool harms_nothing(struct qcow2_plan *plan)
{
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_error err;
	bool harmless =
		qcow2_plan_judge(plan, NULL, &verdict, &err) == 0 && !verdict->adds_problems;

	qcow2_plan_verdict_free(verdict);
	return harmless;
}

/* What was repaired needs no repair. */
static void repair_again(struct qcow2_plan *plan)
{
	unsigned needed = 0;
	const struct qcow2_bitmap_repair_options how = {
		.size = sizeof(how), .tell = tell, .opaque = &needed};
	struct qcow2_bitmap_editor *editor;
	struct qcow2_source *view;
	struct qcow2_plan *second;
	struct qcow2_error err;

	if (qcow2_plan_view(plan, &view, &err) || qcow2_plan_open(view, &second, &err))
		abort();
	if (qcow2_bitmap_repair(second, &how, &err) == 0 && qcow2_plan_count(second) > 0)
		abort();
	if (needed > 0)
		abort();
	if (qcow2_bitmap_editor_open(second, &editor, &err) == 0)
		qcow2_bitmap_editor_close(editor);
	qcow2_plan_close(second);
	qcow2_source_close(view);
}

static void repair(struct qcow2_source *source, uint8_t choice)
{
	unsigned needed = 0;
	const struct qcow2_bitmap_repair_options how = {
		.size = sizeof(how),
		.drop_bad = choice & 1,
		.assume_dirty = choice & 2,
		.tell = tell,
		.opaque = &needed,
	};
	struct qcow2_plan *plan;
	struct qcow2_error err;

	if (qcow2_plan_open(source, &plan, &err))
		abort();
	if (qcow2_bitmap_repair(plan, &how, &err) == 0) {
		judge_plan(plan, source);
		if (qcow2_plan_count(plan) > 0 && needed == 0 && harms_nothing(plan))
			repair_again(plan);
	}
	qcow2_plan_close(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t commands = (size_t)COMMANDS * COMMAND_BYTES;
	struct q2_source_backend device;
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (size < commands || size > IMAGE_MOST)
		return 0;
	size -= commands;
	if (qcow2_source_from_memory(data, size, &source, &err))
		abort();
	if (qcow2_image_open(source, &image, &err) == 0) {
		read_all(image);
		qcow2_image_close(image);
		change(source, data + size);
		make_device(source, &device);
		change(source, data + size);
		repair(source, data[size]);
	}
	qcow2_source_close(source);
	return 0;
}
