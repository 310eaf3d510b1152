/* SPDX-License-Identifier: MIT */
/* Differences of two mappings one by one: shared tables, the largest disks, zeros, limits, options. */
#include "mapping_diff_fixture.h"

/* A table that both L1 tables lead to is not read: it would be charged, or not be readable. */
static void shared_tables(void **state)
{
	const struct form *form = &forms[1];
	const uint64_t size = per_table(form) * 60;

	(void)state;
	put_form(form, size, 60);
	put_snapshot_of(size, 60);
	for (unsigned i = 0; i < 60; i++) {
		put_be(bytes + L1_AT + i * 8, 8, (STORED + i * BYTES) | COPIED);
		put_be(bytes + SNAPSHOT_L1_AT + i * 8, 8, STORED + i * BYTES);
	}
	open_diff(NULL);
	expect_end();
	put_be(bytes + SNAPSHOT_L1_AT + 30 * 8, 8, TABLES_AT);
	put_be(bytes + TABLES_AT, 8, 0x10000);
	open_diff(NULL);
	assert_int_equal(expect(30 * per_table(form), BYTES)->sides[0]->kind, QCOW2_L2_DATA);
	assert_int_equal(
		expect(30 * per_table(form) + BYTES, per_table(form) - BYTES)->sides[1]->kind,
		QCOW2_L2_INVALID);
	expect_end();
}

/* The largest disk: its last L1 entries may map bytes that 64 bits cannot number. */
static void largest_disk(void **state)
{
	(void)state;
	put_be(bytes + 20, 4, 21);
	put_form(&forms[1], UINT64_MAX, 10);
	put_be(bytes + 40, 8, 0);
	put_snapshot_of(UINT64_MAX, 10);
	put_be(bytes + SNAPSHOTS_AT, 8, 0);
	open_diff(NULL);
	expect_end();
	put_snapshot_of(UINT64_MAX, 0);
	put_be(bytes + 36, 4, 0);
	open_diff(NULL);
	qcow2_mapping_diff_seek(diff, (struct qcow2_guest){UINT64_MAX - 1}, UINT64_MAX);
	expect_end();
}

/* Zeros are told, as they are mapped differently; and that they read the same. */
static void zeros(void **state)
{
	const struct form *form = &forms[1];
	const struct qcow2_mapping_difference *d;

	(void)state;
	put_form(form, per_table(form), 1);
	put_snapshot_of(per_table(form) + 7, 1);
	put_be(bytes + L1_AT, 8, TABLES_AT);
	put_be(bytes + SNAPSHOT_L1_AT, 8, OWN_AT);
	put_be(bytes + TABLES_AT, 8, 1);
	put_be(bytes + TABLES_AT + 8, 8, 0x10000 | 1);
	put_be(bytes + TABLES_AT + 16, 8, 0x10200);
	open_diff(NULL);
	assert_true(expect(0, BYTES)->reads_same);
	d = expect(BYTES, BYTES);
	assert_true(d->reads_same && d->sides[1]->host.byte == 0x10000);
	assert_false(expect(2 * BYTES, BYTES)->reads_same);
	d = expect(per_table(form), 7);
	assert_true(!d->reads_same && d->sides[1] == NULL);
	expect_end();
	/* With a backing file, nobody knows what reads where nothing is said. */
	put_be(bytes + 8, 8, 0x180);
	put_be(bytes + 16, 4, 1);
	bytes[0x180] = 'b';
	open_diff(NULL);
	assert_false(expect(0, BYTES)->reads_same);
	close_diff();
}

/* Many L1 entries lead to two tables in turn: the limit holds, and what was found is told first. */
static void limits(void **state)
{
	const struct form *form = &forms[1];
	const struct qcow2_mapping_difference *d;
	const uint32_t count = 4096;
	uint64_t told = 0;
	int more;

	(void)state;
	memset(bytes + L1_AT, 0, sizeof(bytes) - L1_AT);
	put_be(bytes + 20, 4, 16);
	put_form(form, UINT64_C(8192) * 65536 * count, count);
	put_be(bytes + 40, 8, 0x10000);
	put_snapshot_of(UINT64_C(8192) * 65536 * count, count);
	put_be(bytes + 64, 8, 0x50000);
	memmove(bytes + 0x50000, bytes + SNAPSHOTS_AT, 512);
	put_be(bytes + 0x50000, 8, 0x20000);
	for (uint32_t i = 0; i < count; i++) {
		put_be(bytes + 0x10000 + i * 8, 8, 0x30000);
		put_be(bytes + 0x20000 + i * 8, 8, 0x40000);
	}
	for (uint32_t i = 0; i < 8192; i++) {
		put_be(bytes + 0x30000 + i * 8, 8, i % 8 * 65536 | COPIED);
		put_be(bytes + 0x40000 + i * 8, 8, i % 8 * 65536);
	}
	put_be(bytes + 0x40000 + 8, 8, 0);
	open_diff(NULL);
	/* In the midst of a table, so that the limit is met there as well. */
	qcow2_mapping_diff_seek(diff, (struct qcow2_guest){100 * 65536}, UINT64_MAX);
	while ((more = qcow2_mapping_diff_next(diff, &d, &err)) > 0)
		told++;
	assert_int_equal(more, -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_in_range(told, 100, count);
	assert_int_equal(qcow2_mapping_diff_next(diff, &d, &err), -1);
	/* A new range has a limit of its own. */
	qcow2_mapping_diff_seek(diff, (struct qcow2_guest){0}, 1 << 20);
	assert_true(expect(65536, 65536)->sides[0]->kind == QCOW2_L2_UNALLOCATED);
	expect_end();
	/* The disk that cannot be read to the end is named. */
	memset(bytes + 0x20000, 0, 8 * count);
	open_diff(NULL);
	assert_int_equal(qcow2_mapping_diff_blamed(diff), 0);
	while ((more = qcow2_mapping_diff_next(diff, &d, &err)) > 0)
		;
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_int_equal(qcow2_mapping_diff_blamed(diff), 1);
	close_diff();
	/* Tables in common are passed and cost nothing, however many entries lead to them. */
	memcpy(bytes + 0x20000, bytes + 0x10000, 8 * count);
	open_diff(NULL);
	expect_end();
}

static int stop(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	assert_true(done_bytes <= total_bytes);
	++*(unsigned *)opaque;
	return 1;
}

static void stopped(void **state)
{
	unsigned calls = 0;
	const struct qcow2_mapping_diff_options options = {
		.size = sizeof(options), .progress = stop, .opaque = &calls};
	const struct qcow2_mapping_difference *d;
	int more;

	(void)state;
	/* Each part of an extended cluster is a step. */
	put_form(&forms[2], per_table(&forms[2]) * 100, 100);
	put_snapshot_of(per_table(&forms[2]) * 100, 100);
	put_be(bytes + SNAPSHOTS_AT, 8, 0x3000);
	for (unsigned i = 0; i < 100; i++) {
		put_be(bytes + L1_AT + i * 8, 8, TABLES_AT);
		put_be(bytes + 0x3000 + i * 8, 8, OWN_AT);
	}
	for (unsigned i = 0; i < BYTES; i += 16) {
		put_be(bytes + TABLES_AT + i, 8, 0x10000);
		put_be(bytes + OWN_AT + i, 8, 0x20000);
		put_be(bytes + OWN_AT + i + 8, 8, 0x55555555);
	}
	open_diff(&options);
	/* The first time, what was found is told before. */
	for (unsigned i = 1; i <= 2; i++) {
		while ((more = qcow2_mapping_diff_next(diff, &d, &err)) > 0)
			;
		assert_int_equal(more, -1);
		assert_int_equal(err.code, QCOW2_ERROR_STOPPED);
		assert_int_equal(calls, i + 1);
	}
	close_diff();
}

static void bad_options(void **state)
{
	const struct qcow2_mapping_diff_options options = {.size = 0};

	(void)state;
	put_form(&forms[1], 1 << 20, 1);
	put_snapshot_of(1 << 20, 1);
	open_diff(NULL);
	qcow2_mapping_diff_close(diff);
	assert_int_equal(qcow2_mapping_diff_open(sides[0], sides[1], &options, &diff, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
	diff = NULL;
	close_diff();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(shared_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(largest_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_options, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
