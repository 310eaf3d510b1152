/* SPDX-License-Identifier: MIT */
/*
 * Big-endian loads and checked arithmetic: exact values, and the behaviour at every edge.
 */
#include "base/bytes.h"
#include "base/checked.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t nine[] = {0xf1, 0x02, 0x83, 0x04, 0x95, 0x06, 0xa7, 0x08, 0xff};

static void loads_are_big_endian(void **state)
{
	(void)state;
	assert_int_equal(q2_load_be32(nine), 0xf1028304);
	assert_true(q2_load_be64(nine) == 0xf10283049506a708);
	/* an odd address */
	assert_true(q2_load_be64(nine + 1) == 0x0283049506a708ff);
}

static void loads_of_any_width(void **state)
{
	static const uint64_t expected[] = {0,
					    0xf1,
					    0xf102,
					    0xf10283,
					    0xf1028304,
					    0xf102830495,
					    0xf10283049506,
					    0xf10283049506a7,
					    0xf10283049506a708};

	(void)state;
	for (unsigned width = 0; width <= 8; width++)
		assert_true(q2_load_be(nine, width) == expected[width]);
}

static void sums_and_products(void **state)
{
	uint64_t out;

	(void)state;
	assert_false(q2_add_u64(UINT64_MAX - 1, 1, &out));
	assert_true(out == UINT64_MAX);
	assert_true(q2_add_u64(UINT64_MAX, 1, &out));
	assert_true(out == 0);
	assert_true(q2_add_u64(UINT64_MAX, UINT64_MAX, &out));
	assert_true(out == 0);
	assert_false(q2_mul_u64(UINT64_C(1) << 32, UINT32_MAX, &out));
	assert_true(out == 0xffffffff00000000);
	assert_true(q2_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
	assert_true(q2_mul_u64(UINT64_MAX, 3, &out));
	assert_true(out == 0);
}

static void rounding(void **state)
{
	uint64_t out;

	(void)state;
	assert_false(q2_round_up_u64(0, 65536, &out));
	assert_true(out == 0);
	assert_false(q2_round_up_u64(1, 65536, &out));
	assert_true(out == 65536);
	assert_false(q2_round_up_u64(65536, 65536, &out));
	assert_true(out == 65536);
	assert_false(q2_round_up_u64(7, 1, &out));
	assert_true(out == 7);
	assert_false(q2_round_up_u64(UINT64_MAX - 7, 8, &out));
	assert_true(out == UINT64_MAX - 7);
	assert_true(q2_round_up_u64(UINT64_MAX - 6, 8, &out));
	assert_true(out == 0);

	assert_true(q2_div_ceil_u64(0, 5) == 0);
	assert_true(q2_div_ceil_u64(10, 5) == 2);
	assert_true(q2_div_ceil_u64(11, 5) == 3);
	assert_true(q2_div_ceil_u64(UINT64_MAX, 2) == UINT64_C(1) << 63);
	assert_true(q2_div_ceil_u64(UINT64_MAX, 1) == UINT64_MAX);
}

static void ranges(void **state)
{
	(void)state;
	assert_true(q2_range_fits(0, 0, 0));
	assert_true(q2_range_fits(10, 0, 10));
	assert_true(q2_range_fits(4, 6, 10));
	assert_false(q2_range_fits(4, 7, 10));
	assert_false(q2_range_fits(11, 0, 10));
	/* 2^64 - 1 + 2 must not wrap to 1 */
	assert_false(q2_range_fits(UINT64_MAX, 2, 10));
	assert_false(q2_range_fits(2, UINT64_MAX, 10));

	assert_true(q2_ranges_overlap(0, 10, 9, 1));
	assert_false(q2_ranges_overlap(0, 10, 10, 1));
	assert_true(q2_ranges_overlap(9, 1, 0, 10));
	assert_false(q2_ranges_overlap(5, 0, 0, 10));
	assert_true(q2_ranges_overlap(5, UINT64_MAX, 7, 1));
	assert_false(q2_ranges_overlap(UINT64_MAX, 2, 0, 1));
	assert_true(q2_is_power_of_two(1));
	assert_true(q2_is_power_of_two(UINT64_C(1) << 63));
	assert_false(q2_is_power_of_two(0));
	assert_false(q2_is_power_of_two(6));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_are_big_endian),
		cmocka_unit_test(loads_of_any_width),
		cmocka_unit_test(sums_and_products),
		cmocka_unit_test(rounding),
		cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
