/* SPDX-License-Identifier: MIT */
/*
 * A mapping, and what differs of two, when the system fails it: each allocation and each read once.
 * What was found before the fault is told first, and a second attempt gives the rest. The leak
 * checker watches.
 */
#include "fault_file.h"
#include "image_bytes.h"

#include <qcow2/mapping.h>
#include <qcow2/mapping_diff.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IMAGE_BYTES 0x2000

/* Two L2 tables; a snapshot that has the second one only. */
static void build(uint8_t *image)
{
	put_header(image, 65536);
	put_be(image + 36, 4, 2);
	put_be(image + 40, 8, 0x800);
	put_be(image + 60, 4, 1);
	put_be(image + 64, 8, 0x1200);
	put_be(image + 0x800, 8, 0xa00);
	put_be(image + 0x808, 8, 0xc00);
	put_be(image + 0xa00, 8, 0x1000);
	put_be(image + 0xc00, 8, 0x1200);
	put_be(image + 0xe00, 8, 0xc00);
	put_snapshot(image + 0x1200, 1, 4, 16);
	put_be(image + 0x1200, 8, 0xe00);
	put_be(image + 0x1208, 4, 1);
	put_be(image + 0x1230, 8, 32768);
}

static int group_setup(void **state)
{
	static uint8_t image[IMAGE_BYTES];

	(void)state;
	build(image);
	return make_file(image, sizeof(image));
}

enum what { ACTIVE, SNAPSHOT, DIFFERENCES };

static int open_mapping_of(const struct qcow2_image *image, enum what what,
			   struct qcow2_mapping **out, struct qcow2_error *err)
{
	return what == SNAPSHOT ? qcow2_mapping_open_snapshot(image, 0, out, err)
				: qcow2_mapping_open(image, out, err);
}

/* The streams of one attempt. */
struct attempt {
	struct qcow2_mapping *mappings[2];
	struct qcow2_mapping_diff *diff;
};

static int open_attempt(const struct qcow2_image *image, enum what what, struct attempt *a,
			struct qcow2_error *err)
{
	if (what != DIFFERENCES)
		return open_mapping_of(image, what, &a->mappings[0], err);
	if (open_mapping_of(image, SNAPSHOT, &a->mappings[0], err) ||
	    open_mapping_of(image, ACTIVE, &a->mappings[1], err))
		return -1;
	return qcow2_mapping_diff_open(a->mappings[0], a->mappings[1], NULL, &a->diff, err);
}

static int next_of(struct attempt *a, struct qcow2_error *err)
{
	const struct qcow2_mapping_difference *difference;
	const struct qcow2_mapping_extent *extent;

	return a->diff ? qcow2_mapping_diff_next(a->diff, &difference, err)
		       : qcow2_mapping_next(a->mappings[0], &extent, err);
}

/* Counts the extents of the image or its snapshot, or what differs. A failing stream is asked twice. */
static int map(enum what what, unsigned *extents, struct qcow2_error *err)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct attempt a = {{NULL, NULL}, NULL};
	int more = -1, failures = 0;

	*extents = 0;
	if (qcow2_source_open(path, &source, err) == 0 &&
	    qcow2_image_open(source, &image, err) == 0 && open_attempt(image, what, &a, err) == 0) {
		while ((more = next_of(&a, err)) != 0 && failures < 2) {
			*extents += more > 0;
			failures += more < 0;
		}
		more = failures > 0 ? -1 : 0;
	}
	qcow2_mapping_diff_close(a.diff);
	qcow2_mapping_close(a.mappings[0]);
	qcow2_mapping_close(a.mappings[1]);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return more;
}

static void fail_allocations(enum what what)
{
	unsigned extents, failed = 0;
	struct qcow2_error err;

	for (unsigned long at = 1;; at++) {
		int result;

		faults_fail_allocation = at;
		result = map(what, &extents, &err);
		if (faults_fail_allocation > 0) {
			faults_fail_allocation = 0;
			assert_int_equal(result, 0);
			break;
		}
		assert_int_equal(result, -1);
		assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
		failed++;
	}
	assert_true(failed >= 5);
}

static void allocations(void **state)
{
	(void)state;
	fail_allocations(ACTIVE);
	fail_allocations(SNAPSHOT);
	fail_allocations(DIFFERENCES);
}

static void fail_reads(enum what what, unsigned whole)
{
	unsigned extents, failed = 0;
	struct qcow2_error err;
	long count;

	faults_pread = count_read;
	fail_read = reads = 0;
	assert_int_equal(map(what, &extents, &err), 0);
	assert_true(extents == whole);
	count = reads;
	for (fail_read = 1; fail_read <= count; fail_read++) {
		reads = 0;
		/* A fault that is gone when the next call meets it again does not count. */
		if (map(what, &extents, &err)) {
			assert_int_equal(err.code, QCOW2_ERROR_IO);
			failed++;
		}
		assert_true(extents == 0 || extents >= whole);
	}
	faults_pread = NULL;
	assert_true(failed >= 2);
	assert_true(count >= 4);
}

static void failing_reads(void **state)
{
	(void)state;
	fail_reads(ACTIVE, 4);
	fail_reads(SNAPSHOT, 2);
	fail_reads(DIFFERENCES, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations),
		cmocka_unit_test(failing_reads),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
