/* SPDX-License-Identifier: MIT */
/* qcow2_check() as a program of somebody else calls it: callbacks, limits, stopping, no listener.
 */
#include "image_fixture.h"

#include <qcow2/check.h>

/* 512-byte clusters: header, refcount table, one block of 16-bit counts, L1, L2, one of data. */
static void make_image(void)
{
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, "QFI\xfb", 4);
	put_be(bytes + 4, 4, 3);
	put_be(bytes + 20, 4, 9);
	put_be(bytes + 24, 8, 16384);
	put_be(bytes + 36, 4, 1);
	put_be(bytes + 40, 8, 3 * 512);
	put_be(bytes + 48, 8, 512);
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 96, 4, 4);
	put_be(bytes + 100, 4, 104);
	put_be(bytes + 512, 8, 1024);
	for (unsigned i = 0; i < 6; i++)
		put_be(bytes + 1024 + i * 2, 2, 1);
	put_be(bytes + 1536, 8, UINT64_C(1) << 63 | 4 * 512);
	put_be(bytes + 2048, 8, UINT64_C(1) << 63 | 5 * 512);
	open_bytes(6 * 512);
}

struct heard {
	unsigned problems;
	unsigned progress;
	int stop;
	struct qcow2_problem *last; /* a copy */
	int refuse;
};

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct heard *heard = opaque;

	heard->problems++;
	qcow2_problem_free(heard->last);
	heard->last = qcow2_problem_copy(problem);
	return heard->refuse;
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	struct heard *heard = opaque;

	assert_true(done_bytes <= total_bytes);
	heard->progress++;
	return heard->stop;
}

static void sound(void **state)
{
	struct qcow2_check_result *result;

	(void)state;
	make_image();
	assert_int_equal(qcow2_check(image, NULL, &result, &err), 0);
	assert_true(result->clusters_checked);
	assert_int_equal(result->corruptions + result->leaks + result->warnings, 0);
	assert_int_equal(result->image_end_offset_bytes, 6 * 512);
	assert_int_equal(result->total_clusters, 32);
	assert_int_equal(result->allocated_clusters, 1);
	qcow2_check_result_free(result);
	assert_int_equal(qcow2_check(image, NULL, &result, NULL), 0);
	qcow2_check_result_free(result);
	assert_int_equal(qcow2_check(image, NULL, NULL, NULL), 0);
}

static void told(void **state)
{
	struct heard heard = {0};
	struct qcow2_check_options options = {.size = sizeof(options),
					      .problem = hear_problem,
					      .progress = hear_progress,
					      .max_per_kind = 1,
					      .opaque = &heard};
	struct qcow2_check_result *result;

	(void)state;
	make_image();
	put_be(bytes + 2048 + 8, 8, 4 * 512);
	put_be(bytes + 2048 + 16, 8, 4 * 512);
	put_be(bytes + 1024 + 8, 2, 3);
	put_be(bytes + 1536, 8, 4 * 512);
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_int_equal(result->corruptions, 1);
	assert_int_equal(qcow2_check_result_count(result, QCOW2_PROBLEM_CLUSTER_OWNERS), 1);
	assert_int_equal(heard.problems, 1);
	assert_true(heard.progress > 0);
	assert_int_equal(heard.last->owner_count, 3);
	assert_int_equal(heard.last->owners_total, 3);
	assert_string_equal(heard.last->owners[0]->where, "l2/0");
	assert_string_equal(heard.last->owners[2]->where, "l2/0/2");
	assert_int_equal(heard.last->owners[2]->guest_byte, 1024);
	assert_true(heard.last->has_cluster);
	assert_int_equal(heard.last->cluster_offset_bytes, 4 * 512);
	assert_int_equal(heard.last->offset_bytes, 1024 + 4 * 2); /* the refcount */
	options.only = qcow2_problem_kind_find("cluster-owners");
	heard.problems = 0;
	qcow2_check_result_free(result);
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_int_equal(heard.problems, 1);
	options.only = qcow2_problem_kind_find("refcount-low");
	qcow2_check_result_free(result);
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_int_equal(heard.problems, 1); /* no further one */
	assert_int_equal(result->corruptions, 1);
	qcow2_check_result_free(result);
	options.problem = NULL; /* totals alone need no listener */
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_int_equal(result->corruptions, 1);
	qcow2_check_result_free(result);
	qcow2_problem_free(heard.last);
}

static void stopped(void **state)
{
	struct heard heard = {.stop = 1};
	struct qcow2_check_options options = {
		.size = sizeof(options), .progress = hear_progress, .opaque = &heard};
	struct qcow2_check_result *result;

	(void)state;
	make_image();
	assert_int_equal(qcow2_check(image, &options, &result, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
	/* The callback for problems stops as well, after the one that it was given. */
	heard = (struct heard){.refuse = 1};
	options.progress = NULL;
	options.problem = hear_problem;
	put_be(bytes + 2048 + 8, 8, 4 * 512);
	put_be(bytes + 1536, 8, 4 * 512);
	assert_int_equal(qcow2_check(image, &options, &result, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
	assert_int_equal(heard.problems, 1);
	qcow2_problem_free(heard.last);
}

/* Options of a program that was compiled with an older or a newer header. */
static void sized(void **state)
{
	struct {
		struct qcow2_check_options options;
		uint64_t later;
	} newer = {.options = {.size = sizeof(newer), .threads = 1}};
	struct qcow2_check_options options = {.threads = 1};

	(void)state;
	make_image();
	assert_int_equal(qcow2_check(image, &options, NULL, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	options.size = SIZE_MAX;
	assert_int_equal(qcow2_check(image, &options, NULL, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	/* An older one ends before the callbacks, which are not looked at then. */
	options.size = offsetof(struct qcow2_check_options, problem);
	options.problem = (qcow2_problem_callback)(uintptr_t)1;
	put_be(bytes + 1536, 8, 4 * 512);
	assert_int_equal(qcow2_check(image, &options, NULL, &err), 0);
	assert_int_equal(qcow2_check(image, &newer.options, NULL, &err), 0);
	newer.later = 1;
	assert_int_equal(qcow2_check(image, &newer.options, NULL, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
}

static uint64_t count_unmapped(void)
{
	struct qcow2_check_result *result;
	uint64_t count;

	assert_int_equal(qcow2_check(image, NULL, &result, &err), 0);
	count = qcow2_check_result_count(result, QCOW2_PROBLEM_DATA_FILE_RAW_UNMAPPED);
	qcow2_check_result_free(result);
	return count;
}

/* A raw data file is not what the guest reads where an L2 table is where none can be. */
static void raw_tables(void **state)
{
	uint8_t *l1_entry = bytes + 2048;

	(void)state;
	put_header(bytes, 1024); /* one cluster, which the data file has */
	put_be(bytes + 20, 4, 10);
	put_be(bytes + 36, 4, 1);
	put_be(bytes + 40, 8, 2048);
	put_be(bytes + 72, 8, 4);
	put_be(bytes + 88, 8, 2);
	put_be(bytes + 3072, 8, UINT64_C(1) << 63);
	put_be(l1_entry, 8, UINT64_C(1) << 63 | 3072);
	open_bytes(8192);
	assert_int_equal(count_unmapped(), 0);
	put_be(l1_entry, 8, 0);
	assert_int_equal(count_unmapped(), 1);
	put_be(l1_entry, 8, UINT64_C(1) << 63 | 102400);
	assert_int_equal(count_unmapped(), 1);
	put_be(l1_entry, 8, UINT64_C(1) << 63 | (3072 + 512));
	assert_int_equal(count_unmapped(), 1);
}

struct ranges {
	struct qcow2_damage_range items[8];
	size_t count;
	int refuse;
};

static int hear_range(void *opaque, const struct qcow2_damage_range *range)
{
	struct ranges *ranges = opaque;

	assert_in_range(ranges->count, 0, 7);
	ranges->items[ranges->count++] = *range;
	return ranges->refuse;
}

static void assert_range(const struct qcow2_damage_range *range, uint64_t start, uint64_t length,
			 enum qcow2_damage damage)
{
	assert_int_equal(range->guest_byte, start);
	assert_int_equal(range->guest_length_bytes, length);
	assert_int_equal(range->damage, damage);
	assert_int_equal(range->of, QCOW2_PART_OF_IMAGE);
}

/* The data cluster counts as free, the next entry leads past the end, and problems go unheard. */
static void damaged(void **state)
{
	struct ranges ranges = {.count = 0};
	struct qcow2_check_options options = {.size = sizeof(options),
					      .damage = true,
					      .damage_range = hear_range,
					      .opaque = &ranges};
	struct qcow2_check_result *result;
	const struct qcow2_damage_total *total;

	(void)state;
	make_image();
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_true(result->has_damage && result->damage_exact);
	assert_int_equal(ranges.count, 0);
	assert_int_equal(qcow2_check_result_damage(result, 0)->ranges, 0);
	qcow2_check_result_free(result);
	put_be(bytes + 1024 + 10, 2, 0);
	put_be(bytes + 2048 + 8, 8, UINT64_C(1) << 63 | 7 * 512);
	put_be(bytes + 2048 + 16, 8, 2);
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_int_equal(ranges.count, 3);
	assert_range(&ranges.items[0], 0, 512, QCOW2_DAMAGE_AT_RISK);
	assert_range(&ranges.items[1], 512, 512, QCOW2_DAMAGE_LOST);
	assert_range(&ranges.items[2], 1024, 512, QCOW2_DAMAGE_UNREADABLE);
	assert_int_equal(result->damage_ranges, 3);
	assert_int_equal(result->at_risk_bytes, 512);
	assert_int_equal(result->lost_bytes, 512);
	assert_int_equal(result->unreadable_bytes, 512);
	total = qcow2_check_result_damage(result, 0);
	assert_int_equal(total->ranges, 3);
	assert_int_equal(total->lost_bytes, 512);
	assert_null(qcow2_check_result_damage(result, 1));
	qcow2_check_result_free(result);
	ranges = (struct ranges){.refuse = 1};
	assert_int_equal(qcow2_check(image, &options, &result, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
	assert_int_equal(ranges.count, 1);
	options.damage = false;
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_false(result->has_damage);
	assert_null(qcow2_check_result_damage(result, 0));
	qcow2_check_result_free(result);
}

/* The L1 table reads as zeros; the program only wants to know whether leaks may be data. */
static void mapping_lost(void **state)
{
	struct qcow2_check_options options = {.size = sizeof(options), .lost_mappings = true};
	struct qcow2_check_result *result;

	(void)state;
	make_image();
	memset(bytes + 2560, 1, 512);
	put_be(bytes + 1536, 8, 0);
	assert_int_equal(qcow2_check(image, &options, &result, &err), 0);
	assert_true(result->leaks_may_be_data && result->leaks_all_read);
	assert_int_equal(result->leaked_clusters, 2);
	assert_int_equal(result->leaks_with_content, 2);
	assert_int_equal(result->orphan_tables, 1);
	assert_int_equal(result->leaks, 2);
	qcow2_check_result_free(result);
}

static void limited(void **state)
{
	struct qcow2_check_options options = {.size = sizeof(options), .threads = 1};
	struct qcow2_check_result *result;
	uint64_t limit = 1;

	(void)state;
	make_image();
	for (;; limit += 64) {
		options.memory_limit_bytes = limit;
		if (qcow2_check(image, &options, &result, &err) == 0)
			break;
		assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
		assert_true(limit < 1000000);
	}
	assert_int_equal(result->corruptions, 0);
	qcow2_check_result_free(result);
}

/* What cannot be read ends the check, wherever it is. */
static void unreadable(void **state)
{
	struct qcow2_check_result *result;

	(void)state;
	make_image();
	for (uint64_t budget = 0; budget < 512 * 5; budget += 256) {
		qcow2_source_set_budget(source, budget);
		if (qcow2_check(image, NULL, &result, &err) == 0) {
			qcow2_check_result_free(result);
			return;
		}
		assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	}
	fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sound, setup, teardown),
		cmocka_unit_test_setup_teardown(told, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(sized, setup, teardown),
		cmocka_unit_test_setup_teardown(raw_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(mapping_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(limited, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
