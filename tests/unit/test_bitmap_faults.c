/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps read, changed and repaired when memory is short or a read fails: each allocation, and
 * each read, fails once. Then the call fails, and never reads less than it says; the leak checker
 * watches.
 */
#include "faults.h"
#include "image_bytes.h"

#include <qcow2/bitmap.h>
#include <qcow2/bitmap_edit.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/source.h"

#include <cmocka.h>

#define CLUSTERS    8
#define IMAGE_BYTES ((size_t)CLUSTERS * CLUSTER)
#define FAULTS_MOST 2000
/* Where clusters are; the header is 0. */
#define L1_AT        0x200
#define REFTABLE_AT  0x400
#define BLOCK_AT     0x600
#define DIRECTORY_AT 0x800
#define TABLE_AT     0xa00
#define DATA_AT      0xc00

static char path[] = "/tmp/bitmap-faults-XXXXXX";
static uint8_t bytes[IMAGE_BYTES];
static struct qcow2_source *source;
static struct qcow2_image *image;
static struct qcow2_error err;
static long reads, fail_read;

static ssize_t failing_pread(int fd, void *buffer, size_t size, off_t offset)
{
	if (++reads == fail_read) {
		errno = EIO;
		return -1;
	}
	return __real_pread64(fd, buffer, size, offset);
}

static struct qcow2_bytes text(const char *string)
{
	return (struct qcow2_bytes){(const uint8_t *)string, strlen(string)};
}

/* A disk of 1 MiB with two bitmaps of 2,048 bits, "a" with data, "b" all dirty. */
static void write_image(uint64_t entry_of_b)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	memset(bytes, 0, sizeof(bytes));
	put_header(bytes, 1 << 20);
	put_be(bytes + 36, 4, 32);
	put_be(bytes + 40, 8, L1_AT);
	put_be(bytes + 48, 8, REFTABLE_AT);
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 88, 8, 1);
	put_bitmaps(bytes + 104, 2, 64, DIRECTORY_AT);
	put_be(bytes + REFTABLE_AT, 8, BLOCK_AT);
	for (size_t i = 0; i < CLUSTERS; i++)
		put_be(bytes + BLOCK_AT + 2 * i, 2, 1);
	for (unsigned i = 0; i < 2; i++) {
		put_bitmap(bytes + DIRECTORY_AT + 32 * (size_t)i, 1, 0);
		put_be(bytes + DIRECTORY_AT + 32 * (size_t)i, 8, i == 0 ? TABLE_AT : 0xe00);
		bytes[DIRECTORY_AT + 32 * i + 24] = (uint8_t)('a' + i);
	}
	put_be(bytes + TABLE_AT, 8, DATA_AT);
	put_be(bytes + 0xe00, 8, entry_of_b);
	bytes[DATA_AT] = 0x0f;
	bytes[DATA_AT + 255] = 0x80;
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	close(fd);
}

static int open_image(void)
{
	return qcow2_source_open(path, &source, &err) || qcow2_image_open(source, &image, &err);
}

static void close_image(void)
{
	qcow2_image_close(image);
	qcow2_source_close(source);
	image = NULL;
	source = NULL;
}

/* ---- what is tried ---- */

static int find_open(const char *name, struct qcow2_dirty_extents **out)
{
	struct qcow2_bitmap_dir_entry entry;

	return qcow2_bitmap_find(image, text(name), &entry, &err) ||
	       qcow2_dirty_extents_open(image, &entry, 0, out, &err);
}

/* What is dirty in b and not in a: 0 if all of that was told. */
static int read_extents(void)
{
	struct qcow2_dirty_extents *parts[2] = {NULL, NULL}, *both = NULL;
	struct qcow2_dirty_extent extent;
	uint64_t dirty = 0;
	int more = -1, failed = open_image() || find_open("b", &parts[0]);

	if (!failed && find_open("a", &parts[1])) {
		qcow2_dirty_extents_close(parts[0]);
		failed = 1;
	}
	failed = failed ||
		 qcow2_dirty_extents_combine(QCOW2_DIRTY_EXTENTS_SUBTRACT, parts, 2, &both, &err);
	while (!failed && (more = qcow2_dirty_extents_next(both, &extent, &err)) > 0)
		dirty += extent.dirty ? extent.length_bytes : 0;
	qcow2_dirty_extents_close(both);
	close_image();
	if (!failed && more == 0)
		assert_true(dirty == (1 << 20) - 5 * 512);
	return failed || more != 0;
}

static int count_problem(void *opaque, const struct qcow2_problem *problem)
{
	(void)problem;
	++*(unsigned *)opaque;
	return 0;
}

static int examine(void)
{
	struct qcow2_bitmap_health *health = NULL;
	struct qcow2_bitmaps *bitmaps = NULL;
	const struct qcow2_bitmap *bitmap;
	unsigned problems = 0;
	int more = 0;
	int failed = open_image() || qcow2_bitmaps_open(image, &bitmaps, &err) ||
		     qcow2_bitmap_health_open(image, &health, &err);

	while (!failed && (more = qcow2_bitmaps_next(bitmaps, &bitmap, &err)) > 0)
		failed =
			qcow2_bitmap_health_examine(health, bitmap, count_problem, &problems, &err);
	qcow2_bitmap_health_close(health);
	qcow2_bitmaps_close(bitmaps);
	close_image();
	if (!failed && more == 0)
		assert_int_equal(problems, 0);
	return failed || more != 0;
}

static int change(void)
{
	static const uint8_t bits[256] = {0x55};
	struct qcow2_bitmap_editor *editor = NULL;
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_plan *plan = NULL;
	int failed =
		qcow2_source_open(path, &source, &err) || qcow2_plan_open(source, &plan, &err) ||
		qcow2_bitmap_editor_open(plan, &editor, &err) ||
		qcow2_bitmap_add(editor, text("new"), 4096, true, &err) ||
		qcow2_bitmap_merge(editor, text("a"), text("new"), &err) ||
		qcow2_bitmap_import(editor, text("b"), (struct qcow2_bytes){bits, 256}, &err) ||
		qcow2_bitmap_rename(editor, text("a"), text("aa"), &err) ||
		qcow2_bitmap_add(editor, text("gone"), 0, false, &err) ||
		qcow2_bitmap_remove(editor, text("gone"), &err) ||
		qcow2_bitmap_clear(editor, text("aa"), &err) ||
		qcow2_bitmap_enable(editor, text("aa"), true, &err) ||
		qcow2_bitmap_editor_finish(editor, &err) ||
		qcow2_plan_judge(plan, NULL, &verdict, &err);

	qcow2_bitmap_editor_close(editor);
	qcow2_plan_close(plan);
	close_image();
	if (!failed) {
		assert_false(verdict->adds_problems);
		assert_int_equal(verdict->refusals_total, 0);
	}
	qcow2_plan_verdict_free(verdict);
	return failed;
}

static int repair(void)
{
	static const struct qcow2_bytes names[] = {{(const uint8_t *)"a", 1}};
	const struct qcow2_bitmap_repair_options how = {
		.size = sizeof(how), .assume_dirty = true, .names = names, .name_count = 1};
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_plan *plan = NULL;
	int failed = qcow2_source_open(path, &source, &err) ||
		     qcow2_plan_open(source, &plan, &err) ||
		     qcow2_bitmap_repair(plan, &how, &err) ||
		     qcow2_plan_judge(plan, NULL, &verdict, &err);

	if (!failed) {
		assert_true(qcow2_plan_count(plan) > 3);
		assert_int_equal(verdict->after->corruptions, 0);
		assert_int_equal(verdict->refusals_total, 0);
	}
	qcow2_plan_close(plan);
	close_image();
	qcow2_plan_verdict_free(verdict);
	return failed;
}

/* The file as a device, which cannot grow, and on which no cluster is free. */
static int open_device(struct qcow2_plan **plan, struct qcow2_bitmap_editor **editor)
{
	static struct q2_source_backend backend;

	*plan = NULL;
	*editor = NULL;
	if (qcow2_source_open(path, &source, &err))
		return -1;
	backend = *source->backend;
	backend.fixed_size = true;
	source->backend = &backend;
	return qcow2_plan_open(source, plan, &err) || qcow2_bitmap_editor_open(*plan, editor, &err);
}

static int change_device(void)
{
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan_verdict *verdict = NULL;
	struct qcow2_plan *plan;
	int failed = open_device(&plan, &editor) ||
		     qcow2_bitmap_merge(editor, text("a"), text("b"), &err) ||
		     qcow2_bitmap_clear(editor, text("a"), &err) ||
		     qcow2_bitmap_editor_finish(editor, &err) ||
		     qcow2_plan_judge(plan, NULL, &verdict, &err);

	if (!failed) {
		assert_true(qcow2_plan_count(plan) > 3);
		assert_int_equal(qcow2_plan_size_bytes(plan), IMAGE_BYTES);
		assert_false(verdict->adds_problems);
	}
	qcow2_bitmap_editor_close(editor);
	qcow2_plan_close(plan);
	close_image();
	qcow2_plan_verdict_free(verdict);
	return failed;
}

/* ---- how ---- */

/*
 * Lets each allocation fail, then each read; least: how many of both there must be. The result does
 * not depend on some allocations; all others must be missed.
 */
static void try_all(int (*what)(void), unsigned long allocations, unsigned long harmless,
		    long reads_least)
{
	unsigned long needed, missed = 0;
	long all;

	faults_allocations = 0;
	assert_int_equal(what(), 0);
	needed = faults_allocations;
	assert_in_range(needed, allocations, FAULTS_MOST);
	for (unsigned long n = 1; n <= needed; n++) {
		faults_fail_allocation = n;
		if (what() != 0) {
			missed++;
			assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
		}
		faults_fail_allocation = 0;
	}
	assert_int_equal(missed + harmless, needed);
	faults_pread = failing_pread;
	reads = fail_read = 0;
	assert_int_equal(what(), 0);
	all = reads;
	assert_in_range(all, reads_least, FAULTS_MOST);
	for (fail_read = 1; fail_read <= all; fail_read++) {
		reads = 0;
		assert_int_not_equal(what(), 0);
		assert_int_equal(err.code, QCOW2_ERROR_IO);
	}
	faults_pread = NULL;
}

static void extents(void **state)
{
	(void)state;
	write_image(1);
	try_all(read_extents, 8, 0, 6);
}

static void health(void **state)
{
	(void)state;
	write_image(1);
	try_all(examine, 5, 0, 4);
}

static void changes(void **state)
{
	(void)state;
	write_image(1);
	try_all(change, 50, 0, 20);
}

static void repairs(void **state)
{
	(void)state;
	write_image(0x9000000000000001);
	/* The list of what was wrong before, and its index: all is well afterwards. */
	try_all(repair, 30, 2, 20);
}

/* Bits past the end of the disk and nothing else: no entry of any table has a fault. */
static void repair_of_tail(void **state)
{
	int fd;

	(void)state;
	write_image(1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	bytes[DATA_AT + 300] = 1;
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	close(fd);
	assert_int_equal(repair(), 0);
}

static void full_devices(void **state)
{
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan *plan;

	(void)state;
	write_image(1);
	try_all(change_device, 60, 0, 25);
	assert_int_equal(open_device(&plan, &editor), 0);
	assert_int_equal(qcow2_bitmap_add(editor, text("c"), 0, true, &err), 0);
	assert_int_equal(qcow2_bitmap_editor_finish(editor, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_string_equal(err.text,
			    "the device is full: 2 clusters (1024 bytes) are needed, 1 can be had; "
			    "removing bitmap 'a' would free 2, or enlarge the device");
	assert_int_equal(qcow2_plan_count(plan), 0);
	qcow2_bitmap_editor_close(editor);
	qcow2_plan_close(plan);
	close_image();
}

/* What failed halfway is never planned; what was refused at once does no harm. */
static void halfway(void **state)
{
	struct qcow2_bitmap_editor *editor;
	struct qcow2_plan *plan;

	(void)state;
	write_image(1);
	for (unsigned long fail = 0; fail <= 2; fail++) {
		assert_int_equal(qcow2_source_open(path, &source, &err), 0);
		assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
		assert_int_equal(qcow2_bitmap_editor_open(plan, &editor, &err), 0);
		assert_int_equal(qcow2_bitmap_add(editor, text("a"), 0, true, &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
		assert_int_equal(qcow2_bitmap_clear(editor, text("none"), &err), -1);
		assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);
		assert_string_equal(err.text, "bitmap 'none': there is no bitmap of that name");
		faults_fail_allocation = fail;
		assert_int_equal(qcow2_bitmap_clear(editor, text("b"), fail == 2 ? NULL : &err),
				 fail > 0 ? -1 : 0);
		faults_fail_allocation = 0;
		assert_int_equal(qcow2_bitmap_editor_finish(editor, &err), fail > 0 ? -1 : 0);
		if (fail > 0)
			assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
		assert_int_equal(qcow2_plan_count(plan) > 0, fail == 0);
		qcow2_bitmap_editor_close(editor);
		qcow2_plan_close(plan);
		close_image();
	}
}

static int group_setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int group_teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extents),        cmocka_unit_test(health),
		cmocka_unit_test(changes),        cmocka_unit_test(repairs),
		cmocka_unit_test(halfway),        cmocka_unit_test(full_devices),
		cmocka_unit_test(repair_of_tail),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
