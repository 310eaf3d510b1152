/* SPDX-License-Identifier: MIT */
/* Binary searches among rising items (lib/base/search.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/search.h"

#include <cmocka.h>

struct item {
	uint32_t other;
	uint64_t number;
};

static void test_every_place(void **state)
{
	(void)state;
	for (size_t count = 0; count < 20; count++) {
		struct item items[20];

		for (size_t i = 0; i < count; i++)
			items[i] = (struct item){(uint32_t)i, 10 * (i + 1)};
		for (uint64_t number = 0; number < 220; number++) {
			struct q2_rising rising = Q2_RISING(items, count, struct item, number);
			size_t below = 0;
			const struct item *found = q2_rising_find(rising, number);

			while (below < count && items[below].number < number)
				below++;
			assert_int_equal(q2_rising_lower(rising, number), below);
			if (below < count && items[below].number == number)
				assert_ptr_equal(found, &items[below]);
			else
				assert_null(found);
		}
	}
}

static void test_first_of_equals(void **state)
{
	const uint64_t numbers[] = {1, 5, 5, 5, UINT64_MAX, UINT64_MAX};

	(void)state;
	assert_int_equal(q2_rising_lower(q2_rising_numbers(numbers, 6), 5), 1);
	assert_int_equal(q2_rising_lower(q2_rising_numbers(numbers, 6), UINT64_MAX), 4);
	assert_ptr_equal(q2_rising_find(q2_rising_numbers(numbers, 6), 5), &numbers[1]);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(q2_rising_lower(q2_rising_numbers(NULL, 0), 0), 0);
	assert_null(q2_rising_find(q2_rising_numbers(NULL, 0), 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_place),
		cmocka_unit_test(test_first_of_equals),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
