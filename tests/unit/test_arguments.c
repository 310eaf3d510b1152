/* SPDX-License-Identifier: MIT */
/*
 * Numbers and flags that this version does not have: of a program that was compiled with a later
 * header, or that is wrong. Each is refused; none is taken for another one, or for an index.
 */
#include "image_fixture.h"

#include <qcow2/bitmap.h>
#include <qcow2/claims.h>
#include <qcow2/edit.h>
#include <qcow2/problem.h>
#include <qcow2/undo.h>
#include <qcow2/walk.h>

#include <stdlib.h>
#include <unistd.h>

#define UNKNOWN_FLAG (1U << 9)

static const struct qcow2_bytes text = {(const uint8_t *)"text", 4};

/* The call has failed, for its arguments alone. */
static void assert_refused(int result)
{
	assert_int_equal(result, -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	err.code = QCOW2_ERROR_NONE;
}

static void plans(void **state)
{
	const struct qcow2_write *write;
	struct qcow2_plan *plan;

	(void)state;
	open_bytes(4096);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	assert_refused(qcow2_plan_write(plan, (enum qcow2_phase)5, 2048, text, "x", &err));
	assert_refused(qcow2_plan_write(plan, (enum qcow2_phase) - 1, 2048, text, "x", &err));
	assert_refused(qcow2_plan_at(plan, 0, &write, &err));
	assert_refused(qcow2_edit_extension(plan, (enum qcow2_extension_change)3, 1, text, &err));
	assert_int_equal(qcow2_plan_count(plan), 0);
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_CLEAN, 2048, text, "x", &err), 0);
	assert_int_equal(qcow2_plan_at(plan, 0, &write, &err), 0);
	assert_int_equal(write->phase, QCOW2_PHASE_CLEAN);
	assert_refused(qcow2_plan_at(plan, 1, &write, &err));
	assert_refused(qcow2_plan_at(plan, SIZE_MAX, &write, &err));
	qcow2_plan_close(plan);
}

/* A bitmap of one bit, whose table is all zeros. */
static struct qcow2_dirty_extents *open_extents(void)
{
	const struct qcow2_bitmap_dir_entry entry = {
		.bitmap_table_offset = 1024, .bitmap_table_size = 1, .granularity_bits = 20};
	struct qcow2_dirty_extents *extents;

	assert_refused(qcow2_dirty_extents_open(image, &entry, UNKNOWN_FLAG, &extents, &err));
	assert_int_equal(qcow2_dirty_extents_open(image, &entry, 0, &extents, &err), 0);
	return extents;
}

static void extents(void **state)
{
	struct qcow2_dirty_extents *parts[2], *all;

	(void)state;
	open_bytes(4096);
	assert_refused(
		qcow2_dirty_extents_combine(QCOW2_DIRTY_EXTENTS_UNION, parts, 0, &all, &err));
	/* The parts are closed, which leaks are looked for with. */
	for (size_t count = 1; count <= 2; count++) {
		for (size_t i = 0; i < count; i++)
			parts[i] = open_extents();
		assert_refused(qcow2_dirty_extents_combine((enum qcow2_dirty_extents_operation)3,
							   parts, count, &all, &err));
	}
}

static void flags(void **state)
{
	const struct qcow2_visitor visitor = {.size = sizeof(visitor)};
	struct qcow2_source *edited;

	(void)state;
	open_bytes(4096);
	assert_refused(qcow2_walk(image, NULL, UNKNOWN_FLAG, &visitor, NULL, &err));
	assert_refused(qcow2_source_open_for_edit("/", UNKNOWN_FLAG, &edited, &err));
}

/* Applies a plan to a file, and leaves an undo file. */
static void change(const char *path, const char *undo_path)
{
	const struct qcow2_apply_options how = {.size = sizeof(how), .undo_path = undo_path};
	struct qcow2_source *edited;
	struct qcow2_plan *plan;

	assert_int_equal(qcow2_source_open_for_edit(path, 0, &edited, &err), 0);
	assert_int_equal(qcow2_plan_open(edited, &plan, &err), 0);
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_NEW, 0, text, "x", &err), 0);
	assert_int_equal(qcow2_plan_apply(plan, &how, &err), 0);
	qcow2_plan_close(plan);
	qcow2_source_close(edited);
}

static void undo_files(void **state)
{
	char path[] = "/tmp/arguments-XXXXXX", undo_path[sizeof(path) + 5];
	const struct qcow2_undo_options options = {.size = sizeof(options), .flags = UNKNOWN_FLAG};
	const struct qcow2_undo_piece *piece;
	struct qcow2_source *edited;
	struct qcow2_undo *undo;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0 && close(fd) == 0);
	strcpy(undo_path, path);
	strcat(undo_path, ".undo");
	change(path, undo_path);
	assert_int_equal(qcow2_undo_open(undo_path, &undo, &err), 0);
	assert_int_equal(qcow2_undo_describe(undo)->pieces, 1);
	assert_int_equal(qcow2_undo_at(undo, 0, &piece, &err), 0);
	assert_refused(qcow2_undo_at(undo, 1, &piece, &err));
	assert_refused(qcow2_undo_at(undo, UINT64_MAX, &piece, &err));
	assert_int_equal(qcow2_source_open_for_edit(path, 0, &edited, &err), 0);
	assert_refused(qcow2_undo_judge(undo, edited, &options, NULL, &err));
	assert_refused(qcow2_undo_apply(undo, edited, &options, NULL, &err));
	assert_int_equal(qcow2_undo_apply(undo, edited, NULL, NULL, &err), 0);
	assert_int_equal(qcow2_source_size_bytes(edited), 0);
	qcow2_undo_close(undo);
	qcow2_source_close(edited);
	assert_int_equal(unlink(undo_path) | unlink(path), 0);
}

static void names(void **state)
{
	const struct qcow2_claim claim = {.size = sizeof(claim), .part = (enum qcow2_claim_part)11};
	char where[QCOW2_CLAIM_WHERE_MAX] = "before";

	(void)state;
	assert_string_equal(qcow2_claim_where(&claim, where, sizeof(where)), "");
	/* As problem.h says of qcow2_problem_copy(). */
	assert_true(sizeof(struct qcow2_problem) +
			    QCOW2_PROBLEM_OWNERS_MAX *
				    (sizeof(struct qcow2_owner) + sizeof(struct qcow2_owner *)) <
		    2048);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plans, setup, teardown),
		cmocka_unit_test_setup_teardown(extents, setup, teardown),
		cmocka_unit_test_setup_teardown(flags, setup, teardown),
		cmocka_unit_test(undo_files),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
