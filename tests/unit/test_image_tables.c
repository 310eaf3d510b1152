/* SPDX-License-Identifier: MIT */
/* The tables of numbers that an image holds, read through a window, and refcounts of every width.
 */
#include "image_fixture.h"

static void tables(void **state)
{
	struct qcow2_table *table = NULL;
	uint64_t entry;

	(void)state;
	for (unsigned i = 0; i < 32768; i++)
		put_be(bytes + 1024 + i * 8, 8, UINT64_C(0x0102030400000000) + i);
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_table_open(image, &table, &err), 0);
	assert_int_equal(qcow2_table_begin(table, 1024, 32768), 32768);
	for (unsigned i = 0; i < 32768; i++) {
		assert_int_equal(qcow2_table_entry(table, i, &entry, &err), 0);
		assert_true(entry == UINT64_C(0x0102030400000000) + i);
	}
	/* rising order reads each byte once; 512 bytes are the first cluster */
	assert_int_equal(qcow2_source_read_bytes(source), 512 + 32768 * 8);
	for (unsigned i = 32768; i-- > 32000;) {
		assert_int_equal(qcow2_table_entry(table, i, &entry, &err), 0);
		assert_true(entry == UINT64_C(0x0102030400000000) + i);
	}
	assert_int_equal(qcow2_table_entry(table, 32768, &entry, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(qcow2_table_entry(table, UINT64_MAX, &entry, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	qcow2_table_close(table);
	qcow2_table_close(NULL);
}

/* Small tables far apart cost what they hold and no more. */
static void small_tables(void **state)
{
	struct qcow2_table *table = NULL;
	uint64_t entry;

	(void)state;
	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_table_open(image, &table, &err), 0);
	for (unsigned i = 2; i < 1000; i++) {
		bytes[i * 512 + 7] = (uint8_t)i;
		assert_int_equal(qcow2_table_begin(table, i * 512, 1), 1);
		assert_int_equal(qcow2_table_entry(table, 0, &entry, &err), 0);
		assert_int_equal(entry, i & 0xff);
	}
	assert_int_equal(qcow2_source_read_bytes(source), 512 + 998 * 8);
	qcow2_table_close(table);
}

static void tables_at_the_end(void **state)
{
	struct qcow2_table *table = NULL;
	uint64_t entry;

	(void)state;
	memset(bytes + 1024, 0xff, 12);
	open_bytes(1036);
	assert_int_equal(qcow2_table_open(image, &table, &err), 0);
	assert_int_equal(qcow2_table_begin(table, 1024, UINT64_MAX), 64);
	assert_int_equal(qcow2_table_entry(table, 1, &entry, &err), 0);
	assert_true(entry == UINT64_C(0xffffffff00000000));
	assert_int_equal(qcow2_table_entry(table, 63, &entry, &err), 0);
	assert_int_equal(entry, 0);
	assert_int_equal(qcow2_table_begin(table, 2048, 5), 0);
	assert_int_equal(qcow2_table_begin(table, UINT64_MAX - 7, 5), 0);
	assert_int_equal(qcow2_table_entry(table, 0, &entry, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	qcow2_table_close(table);
}

static void assert_refcounts(unsigned order, const uint64_t *expected, size_t count)
{
	struct qcow2_table *table = NULL;
	uint64_t refcount;

	put_be(bytes + 96, 4, order);
	open_bytes(1536);
	assert_int_equal(qcow2_table_open(image, &table, &err), 0);
	assert_int_equal(qcow2_table_begin(table, 1024, 64), 64);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(qcow2_table_refcount(table, i, &refcount, &err), 0);
		assert_true(refcount == expected[i]);
	}
	assert_int_equal(qcow2_table_refcount(table, 4096 >> order, &refcount, &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	qcow2_table_close(table);
}

/* The bytes 9c 35 8a 01 02 03 04 05 in all seven widths, worked out by hand. */
static void refcounts_of_all_widths(void **state)
{
	static const uint64_t w1[] = {0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0};
	static const uint64_t w2[] = {0, 3, 1, 2, 1, 1, 3, 0};
	static const uint64_t w4[] = {0xc, 0x9, 0x5, 0x3, 0xa, 0x8};
	static const uint64_t w8[] = {0x9c, 0x35, 0x8a, 0x01};
	static const uint64_t w16[] = {0x9c35, 0x8a01, 0x0203, 0x0405};
	static const uint64_t w32[] = {0x9c358a01, 0x02030405};
	static const uint64_t w64[] = {UINT64_C(0x9c358a0102030405), 0};

	(void)state;
	memcpy(bytes + 1024, "\x9c\x35\x8a\x01\x02\x03\x04\x05", 8);
	assert_refcounts(0, w1, 16);
	assert_refcounts(1, w2, 8);
	assert_refcounts(2, w4, 6);
	assert_refcounts(3, w8, 4);
	assert_refcounts(4, w16, 4);
	assert_refcounts(5, w32, 2);
	assert_refcounts(6, w64, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(tables),
		TEST(small_tables),
		TEST(tables_at_the_end),
		TEST(refcounts_of_all_widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
