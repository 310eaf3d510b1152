/* SPDX-License-Identifier: MIT */
/* Sizes of files: tallies at their edges, numbers that no file can have, and calls that make no sense. */
#include "image_fixture.h"

#include <qcow2/measure.h>

static struct qcow2_measure_tally tally;
static struct qcow2_measure_size size;
static struct qcow2_measure_target target;

static int setup_target(void **state)
{
	target = (struct qcow2_measure_target){.size = sizeof(target), .cluster_bits = 9};
	tally = (struct qcow2_measure_tally){.size = sizeof(tally)};
	size = (struct qcow2_measure_size){.size = sizeof(size)};
	return setup(state);
}

static void expect_counts(uint64_t clusters, uint64_t tables)
{
	assert_int_equal(tally.data_clusters, clusters);
	assert_int_equal(tally.l2_tables, tables);
}

/* Clusters of 512 bytes, of which an L2 table maps 64. */
static void test_tally(void **state)
{
	(void)state;
	assert_int_equal(qcow2_measure_tally_begin(&tally, &target, &err), 0);
	qcow2_measure_tally_add(&tally, 100, 0);
	expect_counts(0, 0);
	qcow2_measure_tally_add(&tally, 511, 1);
	expect_counts(1, 1);
	/* Of the same cluster, and then of the next one. */
	qcow2_measure_tally_add(&tally, 511, 1);
	expect_counts(1, 1);
	qcow2_measure_tally_add(&tally, 511, 2);
	expect_counts(2, 1);
	/* The last one of the table, and the first one of the next. */
	qcow2_measure_tally_add(&tally, 63 * 512, 512);
	expect_counts(3, 1);
	qcow2_measure_tally_add(&tally, 63 * 512, 513);
	expect_counts(4, 2);
	/* Tables between are counted whole. */
	qcow2_measure_tally_add(&tally, 66 * 512, (64 * 3) * 512);
	expect_counts(4 + 64 * 3, 5);
	/* What passes 2^64 ends there. */
	qcow2_measure_tally_add(&tally, UINT64_MAX - 511, UINT64_MAX);
	expect_counts(4 + 64 * 3 + 1, 6);
	qcow2_measure_tally_add(&tally, UINT64_MAX, 1);
	expect_counts(4 + 64 * 3 + 1, 6);
}

static void test_new(void **state)
{
	(void)state;
	/* Header, refcount table and block. */
	assert_int_equal(qcow2_measure_new(&target, 0, NULL, &size, &err), 0);
	assert_int_equal(size.smallest_bytes, 3 * 512);
	assert_int_equal(size.fully_allocated_bytes, 3 * 512);
	/* And L1 table, L2 table, data. */
	assert_int_equal(qcow2_measure_new(&target, 1, NULL, &size, &err), 0);
	assert_int_equal(size.smallest_bytes, 4 * 512);
	assert_int_equal(size.required_bytes, 5 * 512);
	assert_int_equal(size.fully_allocated_bytes, 6 * 512);
	target.every_cluster = true;
	assert_int_equal(qcow2_measure_new(&target, 1, NULL, &size, &err), 0);
	assert_int_equal(size.smallest_bytes, 6 * 512);
	target.data_file = true;
	assert_int_equal(qcow2_measure_new(&target, 1, NULL, &size, &err), 0);
	assert_int_equal(size.smallest_bytes, 5 * 512);
	target.data_file = false;
	target.luks_bytes = 513;
	assert_int_equal(qcow2_measure_new(&target, 1, NULL, &size, &err), 0);
	assert_int_equal(size.smallest_bytes, 8 * 512);
}

/* A block counts 256 clusters: with 253 others, the 256th is its own, and the next needs another. */
static void test_refcounts_count_themselves(void **state)
{
	/* Header, L1 table of 1 cluster, 4 L2 tables, and data. */
	const uint64_t others = 1 + 1 + 4;

	(void)state;
	for (uint64_t data = 247; data <= 249; data++) {
		tally.size = sizeof(tally);
		assert_int_equal(qcow2_measure_tally_begin(&tally, &target, &err), 0);
		qcow2_measure_tally_add(&tally, 0, data * 512);
		assert_int_equal(qcow2_measure_new(&target, 256 * 512, &tally, &size, &err), 0);
		assert_int_equal(size.smallest_bytes / 512,
				 others + data + (data == 247 || data == 248 ? 2 : 3));
	}
}

static void test_limits(void **state)
{
	/* 2^22 L1 entries of 64 clusters each. */
	const uint64_t most = UINT64_C(1) << (22 + 6 + 9);

	(void)state;
	assert_int_equal(qcow2_measure_new(&target, most, NULL, &size, &err), 0);
	assert_true(size.fully_allocated_bytes > most);
	assert_int_equal(qcow2_measure_new(&target, most + 1, NULL, &size, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	target.cluster_bits = 21;
	target.refcount_bits = 64;
	assert_int_equal(qcow2_measure_new(&target, UINT64_MAX, NULL, &size, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	/* The largest disk of all that QEMU makes. */
	assert_int_equal(qcow2_measure_new(&target, UINT64_C(1) << 60, NULL, &size, &err), 0);
	assert_true(size.fully_allocated_bytes > UINT64_C(1) << 60 &&
		    size.fully_allocated_bytes < UINT64_C(1) << 61);
}

static void refuse_target(struct qcow2_measure_target wrong)
{
	wrong.size = sizeof(wrong);
	assert_int_equal(qcow2_measure_new(&wrong, 1, NULL, &size, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_measure_tally_begin(&tally, &wrong, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_measure_luks_bytes(&wrong, 64), 0);
}

static void test_wrong_targets(void **state)
{
	(void)state;
	refuse_target((struct qcow2_measure_target){.version = 1});
	refuse_target((struct qcow2_measure_target){.version = 4});
	refuse_target((struct qcow2_measure_target){.cluster_bits = 8});
	refuse_target((struct qcow2_measure_target){.cluster_bits = 22});
	refuse_target((struct qcow2_measure_target){.refcount_bits = 3});
	refuse_target((struct qcow2_measure_target){.refcount_bits = 128});
	refuse_target((struct qcow2_measure_target){.version = 2, .refcount_bits = 8});
	refuse_target((struct qcow2_measure_target){.cluster_bits = 13, .extended_l2 = true});
	refuse_target((struct qcow2_measure_target){.luks_bytes = UINT64_MAX});
	assert_int_equal(qcow2_measure_luks_bytes(&target, 0), 0);
	assert_int_equal(qcow2_measure_luks_bytes(&target, 65), 0);
	assert_int_equal(qcow2_measure_luks_bytes(&target, 64), 4040 * 512);
}

static void test_tally_of_another_target(void **state)
{
	(void)state;
	assert_int_equal(qcow2_measure_tally_begin(&tally, &target, &err), 0);
	qcow2_measure_tally_add(&tally, 0, 513);
	assert_int_equal(qcow2_measure_new(&target, 512, &tally, &size, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	target.cluster_bits = 10;
	assert_int_equal(qcow2_measure_new(&target, 4096, &tally, &size, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	size.size = 0;
	assert_int_equal(qcow2_measure_new(&target, 4096, NULL, &size, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
}

/* An image with nothing but a header: L1 table of 512 entries at 0x600 of which the file has few. */
static void test_image(void **state)
{
	struct qcow2_measure_image sizes = {.size = sizeof(sizes)};
	struct qcow2_usage_options options = {.size = sizeof(options)};
	struct qcow2_usage *usage;
	uint64_t told;

	(void)state;
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_measure_file(image, NULL, &sizes, &err), 0);
	assert_true(sizes.smallest_bytes <= sizes.fully_allocated_bytes);
	assert_int_equal(sizes.with_all_bytes, sizes.with_snapshots_bytes);
	assert_int_equal(sizes.commit_growth_bytes, 0);
	assert_false(sizes.has_snapshots || sizes.has_bitmaps || sizes.has_compressed);
	/* A usage without users knows nothing of what is kept. */
	assert_int_equal(qcow2_usage_open(image, &options, &usage, &err), 0);
	assert_int_equal(qcow2_measure_file(image, usage, &sizes, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_measure_kept(image, usage, 0, &told, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	qcow2_usage_close(usage);
	assert_int_equal(qcow2_measure_bitmaps(image, 9, &told, &err), 0);
	assert_int_equal(told, 0);
	assert_int_equal(qcow2_measure_bitmaps(image, 31, &told, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	assert_int_equal(qcow2_measure_commit(image, image, sizeof(bytes), &told, &err), 0);
	assert_true(told >= sizeof(bytes));
	assert_int_equal(qcow2_measure_commit(image, image, UINT64_MAX, &told, &err), 0);
	assert_true(told == QCOW2_MEASURE_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tally, setup_target, teardown),
		cmocka_unit_test_setup_teardown(test_new, setup_target, teardown),
		cmocka_unit_test_setup_teardown(test_refcounts_count_themselves, setup_target,
						teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup_target, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_targets, setup_target, teardown),
		cmocka_unit_test_setup_teardown(test_tally_of_another_target, setup_target,
						teardown),
		cmocka_unit_test_setup_teardown(test_image, setup_target, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
