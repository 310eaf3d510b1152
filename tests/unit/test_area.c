/* SPDX-License-Identifier: MIT */
/*
 * The first cluster taken apart and laid out again: what is not changed comes out byte for byte, what
 * is changed lands where the specification says, and what cannot be laid out is refused.
 */
#include <qcow2/edit.h>

#include "image_fixture.h"

#include "edit/area.h"

#define FORMAT_NAME 0xe2792aca
#define UNKNOWN     0x12345678
#define OTHER       0x00000077
#define V3_HEADER   104

static struct qcow2_plan *plan;
static struct q2_area area;
static bool is_open;

static void close_area(void)
{
	if (is_open)
		q2_area_close(&area);
	qcow2_plan_close(plan);
	plan = NULL;
	is_open = false;
}

static int teardown_all(void **state)
{
	close_area();
	return teardown(state);
}

static int try_area(void)
{
	close_area();
	open_bytes(4 * CLUSTER);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	is_open = true;
	return q2_area_open(&area, plan, &err);
}

static void open_area(void)
{
	assert_int_equal(try_area(), 0);
}

static struct qcow2_bytes text(const char *words)
{
	return (struct qcow2_bytes){(const uint8_t *)words, strlen(words)};
}

/* An extension with its padding; returns where the next one begins. */
static uint8_t *put_extension(uint8_t *at, uint32_t magic, const char *words, uint8_t padding)
{
	size_t size = strlen(words);

	put_mark(at, magic, (uint32_t)size);
	memcpy(at + 8, words, size);
	memset(at + 8 + size, padding, -size & 7);
	return at + 8 + ((size + 7) & ~(size_t)7);
}

/* Two extensions, the end mark, and the name of a backing file. */
static void put_area(void)
{
	uint8_t *at = bytes + V3_HEADER;

	at = put_extension(at, UNKNOWN, "what is it", 0xee);
	at = put_extension(at, FORMAT_NAME, "raw", 0);
	put_mark(at, 0, 0);
	put_be(bytes + 8, 8, (uint64_t)(at + 8 - bytes));
	put_be(bytes + 16, 4, 4);
	memcpy(at + 8, "base", 4);
}

static void assert_planned(const uint8_t *expected, size_t size)
{
	uint8_t got[CLUSTER];

	assert_int_equal(q2_plan_read(plan, 0, got, size, &err), 0);
	assert_memory_equal(got, expected, size);
}

static void plan_area(void)
{
	assert_int_equal(q2_area_plan(&area, plan, "a test", &err), 0);
}

static void takes_apart(void **state)
{
	(void)state;
	put_area();
	open_area();
	assert_int_equal(area.count, 2);
	assert_int_equal(area.header_length, V3_HEADER);
	assert_int_equal(area.extensions[0].magic, UNKNOWN);
	assert_int_equal(area.extensions[0].data.size, 10);
	assert_int_equal(area.extensions[0].padding.size, 6);
	assert_int_equal(area.extensions[0].padding.data[5], 0xee);
	assert_ptr_equal(q2_area_find(&area, FORMAT_NAME), &area.extensions[1]);
	assert_null(q2_area_find(&area, OTHER));
	assert_int_equal(area.backing.size, 4);
	assert_memory_equal(area.backing.data, "base", 4);
	assert_false(area.backing_lost);
	assert_true(q2_area_fits(&area));
}

static void unchanged_is_no_change(void **state)
{
	(void)state;
	put_area();
	open_area();
	plan_area();
	assert_int_equal(qcow2_plan_count(plan), 0);
	assert_planned(bytes, CLUSTER);
}

static void inserts(void **state)
{
	uint8_t expected[CLUSTER], *at;

	(void)state;
	put_area();
	open_area();
	memcpy(expected, bytes, sizeof(expected));
	at = put_extension(expected + V3_HEADER, UNKNOWN, "what is it", 0xee);
	at = put_extension(at, OTHER, "new one", 0);
	at = put_extension(at, FORMAT_NAME, "raw", 0);
	put_mark(at, 0, 0);
	memcpy(at + 8, "base", 4);
	put_be(expected + 8, 8, (uint64_t)(at + 8 - expected));
	q2_area_insert(&area, 1, OTHER, text("new one"));
	assert_int_equal(area.count, 3);
	plan_area();
	assert_planned(expected, sizeof(expected));
}

/* What stood where nothing stands any more is zeros. */
static void removes(void **state)
{
	uint8_t expected[CLUSTER], *at;

	(void)state;
	put_area();
	open_area();
	memcpy(expected, bytes, sizeof(expected));
	memset(expected + V3_HEADER, 0, sizeof(expected) - V3_HEADER);
	at = put_extension(expected + V3_HEADER, FORMAT_NAME, "raw", 0);
	memcpy(at + 8, "base", 4);
	put_be(expected + 8, 8, (uint64_t)(at + 8 - expected));
	assert_int_equal(q2_area_remove(&area, OTHER), 0);
	assert_int_equal(q2_area_remove(&area, UNKNOWN), 1);
	assert_int_equal(area.count, 1);
	plan_area();
	assert_planned(expected, sizeof(expected));
}

static void removes_all_of_a_type(void **state)
{
	uint8_t *at = bytes + V3_HEADER;

	(void)state;
	at = put_extension(at, OTHER, "1", 0);
	at = put_extension(at, UNKNOWN, "2", 0);
	put_extension(at, OTHER, "3", 0);
	open_area();
	assert_int_equal(q2_area_remove(&area, OTHER), 2);
	assert_int_equal(area.count, 1);
	assert_int_equal(area.extensions[0].magic, UNKNOWN);
}

static void backing_comes_and_goes(void **state)
{
	uint8_t expected[CLUSTER];

	(void)state;
	open_area();
	memcpy(expected, bytes, sizeof(expected));
	area.backing = text("other");
	put_be(expected + 8, 8, V3_HEADER + 8);
	put_be(expected + 16, 4, 5);
	memcpy(expected + V3_HEADER + 8, "other", 5);
	plan_area();
	assert_planned(expected, sizeof(expected));

	put_area();
	open_area();
	memcpy(expected, bytes, sizeof(expected));
	memset(expected + 8, 0, 12);
	for (size_t i = V3_HEADER; i < sizeof(expected) - 4; i++)
		if (memcmp(expected + i, "base", 4) == 0)
			memset(expected + i, 0, 4);
	area.backing = text("");
	plan_area();
	assert_planned(expected, sizeof(expected));
}

static void features_and_length(void **state)
{
	uint8_t expected[CLUSTER];

	(void)state;
	open_area();
	memcpy(expected, bytes, sizeof(expected));
	area.incompatible_features = 0x10;
	area.compatible_features = 0x20;
	area.autoclear_features = UINT64_C(0x3000000000000001);
	area.header_length = 112;
	put_be(expected + 72, 8, 0x10);
	put_be(expected + 80, 8, 0x20);
	put_be(expected + 88, 8, UINT64_C(0x3000000000000001));
	put_be(expected + 100, 4, 112);
	plan_area();
	assert_planned(expected, sizeof(expected));
}

/* 104 bytes of header, 8 of the extension's mark, 8 of the end mark: 392 are left of 512. */
static void fits_to_the_last_byte(void **state)
{
	static char words[394];

	(void)state;
	memset(words, 'x', sizeof(words) - 1);
	words[392] = '\0';
	open_area();
	q2_area_insert(&area, 0, OTHER, text(words));
	assert_true(q2_area_fits(&area));
	plan_area();
	open_area();
	words[392] = 'x';
	q2_area_insert(&area, 0, OTHER, text(words));
	assert_false(q2_area_fits(&area));
	assert_int_equal(q2_area_plan(&area, plan, "a test", &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_LIMIT);
	assert_int_equal(qcow2_plan_count(plan), 0);
}

static void a_backing_name_that_would_be_lost(void **state)
{
	(void)state;
	put_area();
	put_be(bytes + 8, 8, CLUSTER - 2); /* passes the cluster's end */
	open_area();
	assert_true(area.backing_lost);
	assert_false(q2_area_fits(&area));
	assert_int_equal(q2_area_plan(&area, plan, "a test", &err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(err.offset_bytes, 8);
}

static void what_cannot_be_told_apart(void **state)
{
	(void)state;
	put_mark(bytes + V3_HEADER, UNKNOWN, 500); /* passes the end of the area */
	assert_int_equal(try_area(), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(err.offset_bytes, V3_HEADER);
	put_mark(bytes + V3_HEADER, 0, 0);
	put_be(bytes + 100, 4, 96);
	assert_int_equal(try_area(), -1);
	assert_int_equal(err.offset_bytes, 100);
	put_be(bytes + 100, 4, CLUSTER + 8);
	assert_int_equal(try_area(), -1);
	assert_int_equal(err.offset_bytes, 100);
	put_be(bytes + 100, 4, V3_HEADER);
	put_be(bytes + 20, 4, 63);
	assert_int_equal(try_area(), -1);
	assert_int_equal(err.offset_bytes, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_all)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(takes_apart),
		TEST(unchanged_is_no_change),
		TEST(inserts),
		TEST(removes),
		TEST(removes_all_of_a_type),
		TEST(backing_comes_and_goes),
		TEST(features_and_length),
		TEST(fits_to_the_last_byte),
		TEST(a_backing_name_that_would_be_lost),
		TEST(what_cannot_be_told_apart),
	};

	return cmocka_run_group_tests_name("header area", tests, NULL, NULL);
}
