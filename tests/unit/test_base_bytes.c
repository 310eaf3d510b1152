/* SPDX-License-Identifier: MIT */
/*
 * Big-endian loads, spans and checked arithmetic: exact values, and the behaviour at every edge.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t nine[] = {0xf1, 0x02, 0x83, 0x04, 0x95, 0x06, 0xa7, 0x08, 0xff};

static void loads_are_big_endian(void **state)
{
	(void)state;
	assert_int_equal(q2_load_u8(nine), 0xf1);
	assert_int_equal(q2_load_be16(nine), 0xf102);
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

static void span_takes_in_order(void **state)
{
	struct q2_span span;
	struct qcow2_bytes bytes;

	(void)state;
	q2_span_init(&span, nine, sizeof(nine));
	assert_int_equal(q2_span_take_u8(&span), 0xf1);
	assert_int_equal(q2_span_take_u16(&span), 0x0283);
	q2_span_skip(&span, 1);
	assert_int_equal(q2_span_take_u32(&span), 0x9506a708);
	assert_int_equal(q2_span_left(&span), 1);
	bytes = q2_span_take_bytes(&span, 1);
	assert_ptr_equal(bytes.data, nine + 8);
	assert_int_equal(bytes.size, 1);
	assert_int_equal(q2_span_left(&span), 0);
	assert_false(span.over);

	q2_span_init(&span, nine, sizeof(nine));
	assert_true(q2_span_take_u64(&span) == 0xf10283049506a708);
	assert_false(span.over);
}

static void span_take_past_the_end(void **state)
{
	struct q2_span span;

	(void)state;
	q2_span_init(&span, nine, 3);
	assert_int_equal(q2_span_take_u32(&span), 0);
	assert_true(span.over);
	/* the rest is gone, so that nothing after it can be misread */
	assert_int_equal(q2_span_left(&span), 0);
	assert_int_equal(q2_span_take_u8(&span), 0);
	assert_true(span.over);

	q2_span_init(&span, nine, sizeof(nine));
	q2_span_skip(&span, 1);
	assert_int_equal(q2_span_take_bytes(&span, SIZE_MAX).size, 0);
	assert_true(span.over);
}

static void span_of_nothing(void **state)
{
	struct q2_span span;

	(void)state;
	q2_span_init(&span, NULL, 0);
	assert_int_equal(q2_span_take_bytes(&span, 0).size, 0);
	assert_false(span.over);
	assert_int_equal(q2_span_take_u8(&span), 0);
	assert_true(span.over);
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
		cmocka_unit_test(span_takes_in_order),
		cmocka_unit_test(span_take_past_the_end),
		cmocka_unit_test(span_of_nothing),
		cmocka_unit_test(sums_and_products),
		cmocka_unit_test(rounding),
		cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
