/* SPDX-License-Identifier: MIT */
/*
 * The layout of a file when the system fails it: each allocation and each read once, with one thread
 * and with two. Every call fails cleanly or is right. The leak checker watches.
 */
#include "fault_file.h"
#include "image_bytes.h"

#include <qcow2/usage.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IMAGE_BYTES 0x3000

/* Two L2 tables far from each other, and a snapshot that has the second one only. */
static void build(uint8_t *image)
{
	put_header(image, 65536);
	put_be(image + 36, 4, 2);
	put_be(image + 40, 8, 0x800);
	put_be(image + 48, 8, 0x200);
	put_be(image + 56, 4, 1);
	put_be(image + 60, 4, 1);
	put_be(image + 64, 8, 0x1200);
	put_be(image + 0x200, 8, 0x400);
	put_be(image + 0x400, 2, 1);
	put_be(image + 0x42e, 2, 1); /* a leak in the last cluster */
	put_be(image + 0x800, 8, 0xa00);
	put_be(image + 0x808, 8, 0x2000);
	put_be(image + 0xa00, 8, 0x1000);
	put_be(image + 0xa10, 8, 0x1000);
	put_be(image + 0x2000, 8, 0x1600);
	put_be(image + 0x2008, 8, UINT64_C(1) << 62 | 0x2d00);
	put_be(image + 0xe00, 8, 0x2000);
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

/* Goes through all runs. 0, or the code of the error. */
static enum qcow2_error_code go_through(struct qcow2_usage *usage)
{
	const struct qcow2_usage_run *run;
	struct qcow2_error err;
	uint64_t end = 0;
	int more;

	while ((more = qcow2_usage_next(usage, &run, &err)) > 0)
		end = run->start.byte + run->length_bytes;
	if (more < 0)
		return err.code;
	assert_int_equal(end, IMAGE_BYTES);
	assert_int_equal(qcow2_usage_total_of(usage, QCOW2_USAGE_LEAKED)->bytes, 0x200);
	assert_int_equal(qcow2_usage_total_of(usage, QCOW2_USAGE_SHARED)->bytes, 0x400);
	assert_int_equal(qcow2_usage_user_at(usage, 1)->referenced_bytes, 0x800);
	return QCOW2_ERROR_NONE;
}

static enum qcow2_error_code work(unsigned threads)
{
	const struct qcow2_usage_options options = {
		.size = sizeof(options), .threads = threads, .owners = true, .users = true};
	enum qcow2_error_code code;
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_usage *usage;
	struct qcow2_error err;

	if (qcow2_source_open(path, &source, &err))
		return err.code;
	if (qcow2_image_open(source, &image, &err)) {
		qcow2_source_close(source);
		return err.code;
	}
	if (qcow2_usage_open(image, &options, &usage, &err)) {
		code = err.code;
	} else {
		code = go_through(usage);
		qcow2_usage_close(usage);
	}
	qcow2_image_close(image);
	qcow2_source_close(source);
	return code;
}

static void test_allocations(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads < 3; threads++) {
		bool failed = true;

		/* A thread that cannot be started is done without. */
		for (unsigned long i = 1; failed || i < 80; i++) {
			enum qcow2_error_code code;

			faults_fail_allocation = i;
			code = work(threads);
			failed = faults_fail_allocation == 0;
			faults_fail_allocation = 0;
			assert_true(code == QCOW2_ERROR_NONE || code == QCOW2_ERROR_MEMORY);
		}
	}
}

static void test_reads(void **state)
{
	long all;

	(void)state;
	faults_pread = count_read;
	assert_int_equal(work(1), QCOW2_ERROR_NONE);
	all = reads;
	assert_true(all > 8);
	for (fail_read = 1; fail_read <= all; fail_read++) {
		reads = 0;
		assert_int_equal(work(1 + (unsigned)fail_read % 2), QCOW2_ERROR_IO);
	}
	faults_pread = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocations),
		cmocka_unit_test(test_reads),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
