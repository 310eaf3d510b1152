/* SPDX-License-Identifier: MIT */
/*
 * Calls without an error to fill: err may be NULL in every function, whether the call works, is
 * refused, runs out of memory, or cannot read.
 */
#include "fault_file.h"
#include "image_bytes.h"

#include <qcow2/bitmap_edit.h>
#include <qcow2/repair.h>
#include <qcow2/rescue.h>
#include <qcow2/undo.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define IMAGE_BYTES (8 * CLUSTER)
#define FAULTS_MOST 60
#define TEXT(text)  ((struct qcow2_bytes){(const uint8_t *)(text), sizeof(text) - 1})

static uint8_t image[IMAGE_BYTES];
static char undo_path[64];
static struct qcow2_source *source;

/* An L1 table at 0x200 with a reserved bit, an L2 table at 0x400, data, and no refcounts at all. */
static int group_setup(void **state)
{
	(void)state;
	put_header(image, 16 * CLUSTER);
	put_be(image + 36, 4, 1);
	put_be(image + 40, 8, 0x200);
	put_bitmaps(image + 104, 1, 32, 0x800);
	image[95] = 1;
	put_be(image + 0x200, 8, UINT64_C(0x8000000000000401));
	put_be(image + 0x400, 8, UINT64_C(0x8000000000000600));
	put_be(image + 0x408, 8, UINT64_C(0x0000000000100000));
	memset(image + 0x600, 'x', CLUSTER);
	put_bitmap(image + 0x800, 1, 0);
	image[0x800 + 24] = 'b';
	put_be(image + 0x800, 8, 0xa00);
	if (make_file(image, sizeof(image)))
		return -1;
	snprintf(undo_path, sizeof(undo_path), "%s.undo", path);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	faults_pread = NULL;
	fail_read = 0;
	faults_fail_allocation = 0;
	return 0;
}

static void edit(struct qcow2_plan *plan)
{
	bool raw;

	(void)qcow2_edit_begin(plan, NULL);
	(void)qcow2_edit_set(plan, "header/size", "0x1000", &raw, NULL);
	(void)qcow2_edit_set(plan, "nowhere", "0x1000", &raw, NULL);
	(void)qcow2_edit_feature(plan, "compatible", "5", true, NULL);
	(void)qcow2_edit_feature(plan, "none", "5", true, NULL);
	(void)qcow2_edit_extension(plan, QCOW2_EXTENSION_ADD, 7, TEXT("data"), NULL);
	(void)qcow2_edit_extension(plan, QCOW2_EXTENSION_REMOVE, 8, TEXT(""), NULL);
	(void)qcow2_edit_backing(plan, TEXT("name"), "raw", NULL);
	(void)qcow2_edit_backing(plan, TEXT(""), "raw", NULL);
	(void)qcow2_edit_data_file(plan, TEXT("name"), NULL);
	(void)qcow2_edit_feature_names(plan, NULL);
	(void)qcow2_plan_intend(plan, QCOW2_INTENT_BACKING, TEXT("name"), NULL);
	(void)qcow2_plan_intend(plan, (enum qcow2_intent)99, TEXT("name"), NULL);
}

static void edit_bitmaps(void)
{
	struct qcow2_bitmap_repair_options how = {.size = sizeof(how)};
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan *plan;

	if (qcow2_plan_open(source, &plan, NULL))
		return;
	(void)qcow2_bitmap_repair(plan, &how, NULL);
	if (qcow2_bitmap_editor_open(plan, &editor, NULL) == 0) {
		(void)qcow2_bitmap_add(editor, TEXT("new"), 512, true, NULL);
		(void)qcow2_bitmap_add(editor, TEXT(""), 512, true, NULL);
		(void)qcow2_bitmap_merge(editor, TEXT("b"), TEXT("new"), NULL);
		(void)qcow2_bitmap_merge(editor, TEXT("none"), TEXT("new"), NULL);
		(void)qcow2_bitmap_rename(editor, TEXT("new"), TEXT("newer"), NULL);
		(void)qcow2_bitmap_enable(editor, TEXT("newer"), false, NULL);
		(void)qcow2_bitmap_clear(editor, TEXT("b"), NULL);
		(void)qcow2_bitmap_import(editor, TEXT("b"), TEXT("\001"), NULL);
		(void)qcow2_bitmap_import_file(editor, TEXT("c"), TEXT("no file"), NULL);
		(void)qcow2_bitmap_remove(editor, TEXT("none"), NULL);
		(void)qcow2_bitmap_editor_finish(editor, NULL);
		qcow2_bitmap_editor_close(editor);
	}
	qcow2_plan_close(plan);
}

static void undo(void)
{
	const struct qcow2_undo_options options = {.size = sizeof(options)};
	struct qcow2_undo_result result = {.size = sizeof(result)};
	const struct qcow2_undo_piece *piece;
	struct qcow2_source *edited;
	struct qcow2_undo *file;

	assert_int_equal(qcow2_undo_open("/nowhere", &file, NULL), -1);
	if (qcow2_undo_open(undo_path, &file, NULL))
		return;
	(void)qcow2_undo_at(file, 0, &piece, NULL);
	assert_int_equal(qcow2_undo_at(file, UINT64_MAX, &piece, NULL), -1);
	if (qcow2_source_open_for_edit(path, 0, &edited, NULL) == 0) {
		(void)qcow2_undo_judge(file, edited, &options, &result, NULL);
		(void)qcow2_undo_judge(file, edited, NULL, NULL, NULL);
		(void)qcow2_undo_judge(file, source, &options, &result, NULL);
		(void)qcow2_undo_apply(file, source, &options, NULL, NULL);
		(void)qcow2_undo_apply(file, edited, &options, &result, NULL);
		qcow2_source_close(edited);
	}
	qcow2_undo_close(file);
}

/* Everything that is done with a plan; whether it is applied. */
static void use(struct qcow2_plan *plan, bool apply)
{
	const struct qcow2_apply_options how = {
		.size = sizeof(how), .undo_path = undo_path, .image_path = path};
	const struct qcow2_judge_options options = {.size = sizeof(options)};
	struct qcow2_plan_verdict *verdict;
	const struct qcow2_write *write;
	struct qcow2_source *view;

	(void)qcow2_plan_write(plan, QCOW2_PHASE_NEW, 0xe00, TEXT("text"), "a test", NULL);
	(void)qcow2_plan_write(plan, (enum qcow2_phase)9, 0xe00, TEXT("text"), "a test", NULL);
	(void)qcow2_plan_resize(plan, UINT64_MAX, NULL);
	(void)qcow2_plan_spill_beside(plan, undo_path, NULL);
	(void)qcow2_plan_at(plan, 0, &write, NULL);
	assert_int_equal(qcow2_plan_at(plan, SIZE_MAX, &write, NULL), -1);
	if (qcow2_plan_view(plan, &view, NULL) == 0)
		qcow2_source_close(view);
	if (qcow2_plan_judge(plan, &options, &verdict, NULL) == 0)
		qcow2_plan_verdict_free(verdict);
	if (apply)
		(void)qcow2_plan_apply(plan, &how, NULL);
}

static void repair(struct qcow2_plan *plan, struct qcow2_repair_options how)
{
	struct qcow2_repair_result *result;

	how.size = sizeof(how);
	if (qcow2_repair(plan, &how, &result, NULL) == 0)
		qcow2_repair_result_free(result);
}

static void rescue(struct qcow2_plan *plan)
{
	const struct qcow2_rescue_options how = {.size = sizeof(how), .threads = 1};
	struct qcow2_rescue *found;

	if (qcow2_rescue_open(source, &how, &found, NULL))
		return;
	(void)qcow2_rescue_plan(found, SIZE_MAX, plan, NULL);
	(void)qcow2_rescue_plan(found, 0, plan, NULL);
	qcow2_rescue_close(found);
}

static const char *const gone[] = {"no such snapshot"};

static void each_way(void)
{
	for (unsigned way = 0; way < 5; way++) {
		struct qcow2_plan *plan;

		if (qcow2_plan_open(source, &plan, NULL))
			continue;
		if (way == 0)
			repair(plan, (struct qcow2_repair_options){.extent = QCOW2_REPAIR_ALL,
								   .threads = 1});
		else if (way == 1)
			repair(plan, (struct qcow2_repair_options){.drop_snapshots = gone,
								   .drop_count = 1});
		else if (way == 2)
			repair(plan, (struct qcow2_repair_options){.extent = QCOW2_REPAIR_LEAKS});
		else if (way == 3)
			rescue(plan);
		else
			edit(plan);
		use(plan, way == 0);
		/* A repair, and a rescue, begin with an empty plan. */
		repair(plan, (struct qcow2_repair_options){.extent = QCOW2_REPAIR_ALL});
		rescue(plan);
		qcow2_plan_close(plan);
		if (way == 0)
			undo();
		(void)unlink(undo_path);
	}
}

static void everything(void)
{
	assert_int_equal(qcow2_source_open("/nowhere", &source, NULL), -1);
	if (qcow2_source_open_for_edit(path, 0, &source, NULL))
		return;
	each_way();
	edit_bitmaps();
	qcow2_source_close(source);
}

static void works(void **state)
{
	(void)state;
	everything();
}

/* The image may be left changed: the next round goes on with it. */
static void without_memory(void **state)
{
	unsigned long step = 1, all;

	(void)state;
	faults_allocations = 0;
	everything();
	all = faults_allocations;
	assert_true(all > 100);
	/* So many of them, spread over all. */
	for (step = 1; step <= all; step += 1 + all / FAULTS_MOST) {
		faults_fail_allocation = step;
		everything();
		faults_fail_allocation = 0;
	}
}

static void unreadable(void **state)
{
	long all;

	(void)state;
	faults_pread = count_read;
	reads = 0;
	everything();
	all = reads;
	assert_true(all > 20);
	for (long step = 1; step <= all; step += 1 + all / FAULTS_MOST) {
		reads = 0;
		fail_read = step;
		everything();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(works, setup),
		cmocka_unit_test_setup(without_memory, setup),
		cmocka_unit_test_setup(unreadable, setup),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
