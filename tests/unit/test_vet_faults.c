/* SPDX-License-Identifier: MIT */
/*
 * Vetting when the system fails it: each allocation and each read once, of a file and of a stream.
 * Whatever fails, an image that should be refused is never accepted. The leak checker watches.
 */
#include "fault_file.h"
#include "image_bytes.h"

#include <qcow2/vet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define IMAGE_BYTES 0x3000

static uint8_t image[IMAGE_BYTES];

/* A snapshot with a VM state, for which it is refused, and bitmaps, for which it is not. */
static void build(void)
{
	put_header(image, 65536);
	put_be(image + 36, 4, 2);
	put_be(image + 40, 8, 0x800);
	put_be(image + 48, 8, 0x200);
	put_be(image + 56, 4, 1);
	put_be(image + 60, 4, 1);
	put_be(image + 64, 8, 0x1200);
	put_be(image + 88, 8, 1);
	put_bitmaps(image + 104, 1, 32, 0x1400);
	put_be(image + 0x200, 8, 0x400);
	for (unsigned i = 0; i < IMAGE_BYTES / 512; i++)
		put_be(image + 0x400 + (size_t)i * 2, 2, 1);
	put_be(image + 0x800, 8, UINT64_C(1) << 63 | 0xa00);
	put_snapshot(image + 0x1200, 1, 4, 24);
	put_be(image + 0x1200, 8, 0xe00);
	put_be(image + 0x1208, 4, 2);
	put_be(image + 0x1228, 8, 4096); /* the VM state */
	put_be(image + 0x1230, 8, 65536);
	put_be(image + 0x1240 + 8, 1, '1');
	put_be(image + 0x1400, 8, 0x1600);
	put_be(image + 0x1408, 4, 1);
	put_be(image + 0x1410, 1, 1);
	put_be(image + 0x1411, 1, 16);
	put_be(image + 0x1412, 2, 1);
	image[0x1418] = 'b';
}

static int group_setup(void **state)
{
	(void)state;
	build();
	return make_file(image, sizeof(image));
}

static enum qcow2_error_code judge(int failed, const struct qcow2_vet_result *result,
				   const struct qcow2_error *err)
{
	if (failed)
		return err->code;
	assert_int_equal(result->verdict, QCOW2_VET_REFUSED);
	return QCOW2_ERROR_NONE;
}

static enum qcow2_error_code vet(const struct qcow2_vet_options *options)
{
	struct qcow2_vet_result result = {.size = sizeof(result)};
	struct qcow2_source *source;
	struct qcow2_error err;
	int failed;

	if (qcow2_source_open(path, &source, &err))
		return err.code;
	failed = qcow2_vet(source, options, &result, &err);
	qcow2_source_close(source);
	return judge(failed, &result, &err);
}

static enum qcow2_error_code vet_by_policy(void)
{
	struct qcow2_vet_options options = {.size = sizeof(options), .threads = 1, .deep = true};
	struct qcow2_vet_policy *policy;
	enum qcow2_error_code code;
	struct qcow2_error err;

	if (qcow2_vet_policy_new("strict", &policy, &err))
		return err.code;
	options.policy = policy;
	code = vet(&options);
	qcow2_vet_policy_free(policy);
	return code;
}

static enum qcow2_error_code vet_stream(void)
{
	struct qcow2_vet_result result = {.size = sizeof(result)};
	struct qcow2_vet_stream *stream;
	struct qcow2_error err;
	int failed = 0;

	if (qcow2_vet_stream_open(NULL, &stream, &err))
		return err.code;
	for (size_t at = 0; failed == 0 && at < sizeof(image); at += 512)
		failed = qcow2_vet_stream_feed(stream, image + at, 512, &err);
	if (failed >= 0)
		failed = qcow2_vet_stream_end(stream, &result, &err);
	qcow2_vet_stream_close(stream);
	return judge(failed, &result, &err);
}

static enum qcow2_error_code vet_upload(void)
{
	return vet(NULL);
}

static void fail_allocations(enum qcow2_error_code (*work)(void), unsigned long least)
{
	bool failed = true;

	for (unsigned long i = 1; failed; i++) {
		enum qcow2_error_code code;

		faults_fail_allocation = i;
		code = work();
		failed = faults_fail_allocation == 0;
		faults_fail_allocation = 0;
		assert_true(code == QCOW2_ERROR_NONE || (failed && code == QCOW2_ERROR_MEMORY));
		assert_true(failed || i > least);
	}
}

static void test_allocations(void **state)
{
	(void)state;
	fail_allocations(vet_upload, 5);
	fail_allocations(vet_by_policy, 10);
	fail_allocations(vet_stream, 5);
}

static void test_reads(void **state)
{
	long all;

	(void)state;
	faults_pread = count_read;
	reads = fail_read = 0;
	assert_int_equal(vet_by_policy(), QCOW2_ERROR_NONE);
	all = reads;
	assert_true(all > 8);
	for (fail_read = 1; fail_read <= all; fail_read++) {
		reads = 0;
		assert_int_equal(vet_by_policy(), QCOW2_ERROR_IO);
	}
	faults_pread = NULL;
}

static void test_arguments(void **state)
{
	const struct qcow2_vet_options options = {.size = 0};
	struct qcow2_vet_result result = {.size = sizeof(result)};
	struct qcow2_vet_stream *stream;
	struct qcow2_vet_policy *policy;
	struct qcow2_source *source;
	struct qcow2_error err;

	(void)state;
	assert_int_equal(qcow2_source_from_memory(image, sizeof(image), &source, &err), 0);
	assert_int_equal(qcow2_vet(source, &options, &result, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_vet_stream_open(&options, &stream, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	result.size = 0;
	assert_int_equal(qcow2_vet(source, NULL, &result, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	qcow2_source_close(source);
	assert_int_equal(qcow2_vet_policy_new("other", &policy, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);
	assert_int_equal(qcow2_vet_policy_new("chain", &policy, NULL), 0);
	assert_int_equal(qcow2_vet_policy_set(policy, QCOW2_VET_RULE_FORMAT, QCOW2_VET_ALLOW, &err),
			 -1);
	assert_int_equal(qcow2_vet_policy_set(policy, QCOW2_VET_RULE_DIRTY, 5, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_vet_policy_set(policy, 0, QCOW2_VET_ALLOW, &err), -1);
	assert_int_equal(qcow2_vet_policy_set(policy, 12345, QCOW2_VET_ALLOW, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_NOT_FOUND);
	assert_int_equal(qcow2_vet_policy_set(policy, QCOW2_VET_RULE_DIRTY, QCOW2_VET_ALLOW, &err),
			 0);
	assert_true(qcow2_vet_policy_setting(policy, QCOW2_VET_RULE_DIRTY) == QCOW2_VET_ALLOW);
	assert_true(qcow2_vet_policy_setting(policy, 12345) == QCOW2_VET_DENY);
	qcow2_vet_policy_free(policy);
	qcow2_vet_policy_free(NULL);
	qcow2_vet_stream_close(NULL);
}

static void test_rules(void **state)
{
	const struct qcow2_vet_rule *rule;
	size_t count = 0;

	(void)state;
	for (; (rule = qcow2_vet_rule_at(count)) != NULL; count++) {
		assert_ptr_equal(qcow2_vet_rule_get(rule->number), rule);
		assert_ptr_equal(qcow2_vet_rule_find(rule->id), rule);
		assert_true(rule->number < 64); /* each has a bit of unapplied */
	}
	assert_true(count > 30);
	assert_null(qcow2_vet_rule_get(0));
	assert_null(qcow2_vet_rule_get(12345));
	assert_null(qcow2_vet_rule_find("no-such-rule"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocations),
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
