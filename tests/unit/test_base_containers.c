/* SPDX-License-Identifier: MIT */
/*
 * Vectors, the counting of ones, SipHash and the set of names, with their caps.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/ones.h"
#include "base/vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void allocations(void **state)
{
	uint8_t *bytes;
	void *nothing = q2_alloc(0);

	(void)state;
	assert_non_null(nothing);
	q2_free(nothing);
	bytes = q2_alloc_array(3, 5);
	assert_non_null(bytes);
	for (int i = 0; i < 15; i++)
		assert_int_equal(bytes[i], 0);
	bytes[14] = 7;
	bytes = q2_realloc_array(bytes, 3, 50);
	assert_non_null(bytes);
	assert_int_equal(bytes[14], 7);
	/* the products overflow to 0 or to something small */
	assert_null(q2_realloc_array(bytes, SIZE_MAX / 2 + 1, 2));
	assert_null(q2_realloc_array(bytes, SIZE_MAX, SIZE_MAX));
	assert_int_equal(bytes[14], 7);
	q2_free(bytes);
	q2_free(NULL);
}

static void vector_grows_to_its_cap(void **state)
{
	struct q2_vector vector;

	(void)state;
	q2_vector_init(&vector, sizeof(uint32_t), 100);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(q2_vector_push(&vector, &i), QCOW2_ERROR_NONE);
	assert_int_equal(vector.count, 100);
	assert_int_equal(q2_vector_push(&vector, &(uint32_t){0}), QCOW2_ERROR_LIMIT);
	assert_int_equal(vector.count, 100);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(*(uint32_t *)q2_vector_at(&vector, i), i);
	assert_null(q2_vector_at(&vector, 100));
	assert_true(vector.capacity <= 100);

	q2_vector_clear(&vector);
	assert_int_equal(vector.count, 0);
	assert_null(q2_vector_at(&vector, 0));
	q2_vector_release(&vector);
	assert_int_equal(q2_vector_push(&vector, &(uint32_t){9}), QCOW2_ERROR_NONE);
	assert_int_equal(*(uint32_t *)q2_vector_at(&vector, 0), 9);
	q2_vector_release(&vector);
}

static void vector_of_bytes(void **state)
{
	struct q2_vector vector;

	(void)state;
	q2_vector_init(&vector, 1, 40);
	assert_int_equal(q2_vector_append(&vector, "abc", 3), QCOW2_ERROR_NONE);
	assert_int_equal(q2_vector_append(&vector, NULL, 30), QCOW2_ERROR_NONE);
	assert_int_equal(q2_vector_append(&vector, NULL, 0), QCOW2_ERROR_NONE);
	assert_int_equal(q2_vector_append(&vector, "12345678", 8), QCOW2_ERROR_LIMIT);
	assert_int_equal(q2_vector_append(&vector, "x", SIZE_MAX), QCOW2_ERROR_LIMIT);
	assert_int_equal(q2_vector_append(&vector, "1234567", 7), QCOW2_ERROR_NONE);
	assert_int_equal(vector.count, 40);
	assert_memory_equal(vector.data, "abc\0\0", 5);
	assert_memory_equal(vector.data + 32, "\0001234567", 8);
	q2_vector_release(&vector);
}

static void vector_without_room(void **state)
{
	struct q2_vector vector;

	(void)state;
	q2_vector_init(&vector, 8, 0);
	assert_int_equal(q2_vector_push(&vector, NULL), QCOW2_ERROR_LIMIT);
	q2_vector_release(&vector);
	/* the size in bytes overflows although the count is within the cap */
	q2_vector_init(&vector, 16, SIZE_MAX);
	assert_int_equal(q2_vector_append(&vector, NULL, SIZE_MAX / 8), QCOW2_ERROR_MEMORY);
	assert_int_equal(vector.count, 0);
	q2_vector_release(&vector);
}

/* Bit by bit, to compare with. */
static uint64_t count_slowly(const uint8_t *bytes, size_t size)
{
	uint64_t ones = 0;

	for (size_t i = 0; i < size; i++)
		for (int bit = 0; bit < 8; bit++)
			ones += bytes[i] >> bit & 1;
	return ones;
}

static void ones_of_every_length(void **state)
{
	uint8_t bytes[300];
	uint32_t random = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		random = random * 1103515245 + 12345;
		bytes[i] = (uint8_t)(random >> 16);
	}
	assert_int_equal(q2_count_ones(NULL, 0), 0);
	for (size_t start = 0; start < 9; start++)
		for (size_t size = 0; size <= sizeof(bytes) - start; size++)
			assert_int_equal(q2_count_ones(bytes + start, size),
					 count_slowly(bytes + start, size));
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(q2_count_ones(bytes, sizeof(bytes)), 2400);
}

/* The expected values are those that the authors of SipHash publish for this key and these bytes.
 */
static void hash_of_the_published_vectors(void **state)
{
	static const struct q2_hash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	uint8_t bytes[16];

	(void)state;
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	assert_true(q2_hash(&key, (struct qcow2_bytes){NULL, 0}) == 0x726fdb47dd0e0e31);
	assert_true(q2_hash(&key, (struct qcow2_bytes){bytes, 1}) == 0x74f839c593dc67fd);
	assert_true(q2_hash(&key, (struct qcow2_bytes){bytes, 8}) == 0x93f5f5799a932462);
	assert_true(q2_hash(&key, (struct qcow2_bytes){bytes, 15}) == 0xa129ca6149be45e5);
}

static void name_set_finds_the_first(void **state)
{
	struct q2_name_set set;
	uint64_t earlier;

	(void)state;
	q2_name_set_init(&set, 1000);
	for (uint64_t i = 0; i < 1000; i++) {
		/* neighbours in the low bits collide in the table */
		uint64_t hash = i << 40 | (i & 3);

		assert_int_equal(q2_name_set_insert(&set, hash, i, &earlier), QCOW2_ERROR_NONE);
		assert_true(earlier == Q2_NAME_SET_NEW);
	}
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t hash = i << 40 | (i & 3);

		assert_int_equal(q2_name_set_insert(&set, hash, 5000, &earlier), QCOW2_ERROR_NONE);
		assert_true(earlier == i);
	}
	assert_int_equal(set.count, 1000);
	assert_int_equal(q2_name_set_insert(&set, 77, 1, &earlier), QCOW2_ERROR_LIMIT);
	assert_int_equal(set.count, 1000);
	q2_name_set_release(&set);
	q2_name_set_release(&set);
}

static void name_set_finds_without_inserting(void **state)
{
	struct q2_name_set set;
	uint64_t earlier;

	(void)state;
	q2_name_set_init(&set, 3);
	assert_true(q2_name_set_find(&set, 0) == Q2_NAME_SET_NEW);
	/* Any number is a hash, those of all zeros and ones, too. */
	assert_int_equal(q2_name_set_insert(&set, 0, 5, &earlier), QCOW2_ERROR_NONE);
	assert_int_equal(q2_name_set_insert(&set, UINT64_MAX, 0, &earlier), QCOW2_ERROR_NONE);
	assert_true(q2_name_set_find(&set, 0) == 5);
	assert_true(q2_name_set_find(&set, UINT64_MAX) == 0);
	assert_true(q2_name_set_find(&set, 1) == Q2_NAME_SET_NEW);
	assert_int_equal(set.count, 2);
	/* One that is there is no insertion: the limit does not matter. */
	assert_int_equal(q2_name_set_insert(&set, 7, 1, &earlier), QCOW2_ERROR_NONE);
	assert_int_equal(q2_name_set_insert(&set, 7, 2, &earlier), QCOW2_ERROR_NONE);
	assert_true(earlier == 1);
	assert_int_equal(q2_name_set_insert(&set, 8, 2, &earlier), QCOW2_ERROR_LIMIT);
	assert_true(q2_name_set_find(&set, 8) == Q2_NAME_SET_NEW);
	q2_name_set_release(&set);
}

/* Bytes and key both count, to the last bit. */
static void hash_depends_on_all(void **state)
{
	struct q2_hash_key key = {1, 2}, other = {1, 3}, third = {0, 2};
	uint8_t bytes[33] = {0};
	uint64_t first = q2_hash(&key, (struct qcow2_bytes){bytes, sizeof(bytes)});

	(void)state;
	assert_true(q2_hash(&other, (struct qcow2_bytes){bytes, sizeof(bytes)}) != first);
	assert_true(q2_hash(&third, (struct qcow2_bytes){bytes, sizeof(bytes)}) != first);
	assert_true(q2_hash(&key, (struct qcow2_bytes){bytes, sizeof(bytes) - 1}) != first);
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(q2_hash(&key, (struct qcow2_bytes){bytes, sizeof(bytes)}) != first);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void hash_keys_are_random(void **state)
{
	struct q2_hash_key one, two;

	(void)state;
	q2_hash_key_make(&one);
	q2_hash_key_make(&two);
	assert_true(one.low != two.low && one.high != two.high);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations),
		cmocka_unit_test(vector_grows_to_its_cap),
		cmocka_unit_test(vector_of_bytes),
		cmocka_unit_test(vector_without_room),
		cmocka_unit_test(ones_of_every_length),
		cmocka_unit_test(hash_of_the_published_vectors),
		cmocka_unit_test(name_set_finds_the_first),
		cmocka_unit_test(name_set_finds_without_inserting),
		cmocka_unit_test(hash_depends_on_all),
		cmocka_unit_test(hash_keys_are_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
