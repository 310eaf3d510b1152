/* SPDX-License-Identifier: MIT */
/* The one reader of numbers: what it takes, what it refuses and how it says so. */
#include "base/number.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KIB (UINT64_C(1) << 10)
#define GIB (UINT64_C(1) << 30)
#define EIB (UINT64_C(1) << 60)

static struct qcow2_error err;

static void takes_what_people_write(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{"0", 0},
		{"00", 0},
		{"010000", 10000},
		{"4096", 4096},
		{"18446744073709551615", UINT64_MAX},
		{"0x0", 0},
		{"0X1F", 31},
		{"0xffffffffffffffff", UINT64_MAX},
		{"0x1e", 30},
		{"0x1B", 27},
		{"0o17", 15},
		{"0O17", 15},
		{"0b101", 5},
		{"0B1", 1},
		{"1B", 1},
		{"64k", 64 * KIB},
		{"64K", 64 * KIB},
		{"064k", 64 * KIB},
		{"64KiB", 64 * KIB},
		{"64kib", 64 * KIB},
		{"3m", 3 * KIB * KIB},
		{"3MiB", 3 * KIB * KIB},
		{"2G", 2 * GIB},
		{"2GiB", 2 * GIB},
		{"2T", 2 * KIB * GIB},
		{"2PiB", 2 * KIB * KIB * GIB},
		{"15E", 15 * EIB},
		{"0E", 0},
		{"1.5G", GIB + GIB / 2},
		{"1.50GiB", GIB + GIB / 2},
		{"1.000", 1},
		{"0.5k", 512},
		{"0.0009765625k", 1},
		{"0.125M", 128 * KIB},
		{"15.9375E", 15 * EIB + EIB / 16 * 15},
		{"0.00000000", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t value = 1234567;

		if (qcow2_number_parse(good[i].text, UINT64_MAX, &value, &err))
			fail_msg("%s: %s", good[i].text, err.text);
		assert_int_equal(value, good[i].value);
		assert_int_equal(qcow2_number_parse(good[i].text, good[i].value, &value, NULL), 0);
	}
}

static void refuses_everything_else(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"", "is no number"},
		{" 1", "is no number"},
		{"1 ", "is no number"},
		{"+1", "is no number"},
		{"-1", "is no number"},
		{"x", "is no number"},
		{"k", "is no number"},
		{".5G", "is no number"},
		{"1.", "is no number"},
		{"1.G", "is no number"},
		{"1.5.5G", "is no number"},
		{"1,5G", "is no number"},
		{"1e3", "is no number"},
		{"1_000", "is no number"},
		{"0x", "is no number"},
		{"0xg", "is no number"},
		{"0x10k", "is no number"},
		{"0x1.8", "is no number"},
		{"0b", "is no number"},
		{"0b2", "is no number"},
		{"0o8", "is no number"},
		{"1b", "is no number"},
		{"1kk", "is no number"},
		{"1ki", "is no number"},
		{"1iB", "is no number"},
		{"1Bi", "is no number"},
		{"1KiBs", "is no number"},
		{"1Z", "is no number"},
		{"\xc3\xa9", "is no number"},
		{"1KB", "is not clear"},
		{"1kB", "is not clear"},
		{"1.5MB", "is not clear"},
		{"1.5", "is no whole number"},
		{"1.1k", "is no whole number"},
		{"0.1B", "is no whole number"},
		{"0.00000000000000000000000001E", "is no whole number"},
		{"18446744073709551616", "is too large"},
		{"99999999999999999999999999", "is too large"},
		{"0x10000000000000000", "is too large"},
		{"16E", "is too large"},
		{"16EiB", "is too large"},
		{"18446744073709551615k", "is too large"},
		{"99999999T", "is too large"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t value = 1;

		assert_int_equal(qcow2_number_parse(bad[i].text, UINT64_MAX, &value, &err), -1);
		assert_int_equal(value, 0);
		assert_int_equal(err.code, QCOW2_ERROR_ARGUMENT);
		if (!strstr(err.text, bad[i].says))
			fail_msg("'%s': %s", bad[i].text, err.text);
	}
}

static void keeps_the_limit(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(qcow2_number_parse("64", 63, &value, &err), -1);
	assert_string_equal(err.text, "'64' is too large: 63 is the most");
	assert_int_equal(qcow2_number_parse("63", 63, &value, &err), 0);
	assert_int_equal(qcow2_number_parse("many", 63, &value, &err), -1);
	assert_string_equal(err.text, "'many' is no number: write it as 4096, 64k, 1.5G or 0x1000");
}

static void an_index_has_no_unit(void **state)
{
	static const char *const bad[] = {
		"", "64k", "1B", "1.0", "-1", "0x", "18446744073709551616"};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(q2_index_parse(bad[i], strlen(bad[i]), &value));
	assert_true(q2_index_parse("017..", 3, &value));
	assert_int_equal(value, 17);
	assert_true(q2_index_parse("0x1fk", 4, &value));
	assert_int_equal(value, 31);
}

/* Every number is read back from each of its spellings. */
static void reads_back_what_is_printed(void **state)
{
	static const char *const formats[] = {"%" PRIu64, "000%" PRIu64, "0x%" PRIx64, "0X%" PRIX64,
					      "0o%" PRIo64};

	(void)state;
	srand(1);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t number =
			((uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand()) >>
			rand() % 64;
		unsigned shift = (unsigned)(rand() % 6 + 1) * 10;
		uint64_t value;
		char text[64];

		snprintf(text, sizeof(text), formats[round % 5], number);
		assert_int_equal(qcow2_number_parse(text, number, &value, &err), 0);
		assert_true(value == number);
		snprintf(text, sizeof(text), "%" PRIu64 "%c", number, "BkMGTPE"[shift / 10]);
		if (number >> (64 - shift) != 0) {
			assert_int_equal(qcow2_number_parse(text, UINT64_MAX, &value, &err), -1);
			continue;
		}
		assert_int_equal(qcow2_number_parse(text, UINT64_MAX, &value, &err), 0);
		assert_true(value == number << shift);
	}
}

/* A fraction is exact or refused: n / 2^d of a unit, and the same with one digit more. */
static void fractions_are_exact(void **state)
{
	uint64_t power = 1;

	(void)state;
	for (unsigned d = 1; d <= 10; d++) {
		power *= 5;
		for (unsigned n = 0; n < 1U << d; n++) {
			uint64_t value;
			char text[64];

			snprintf(text, sizeof(text), "3.%0*" PRIu64 "k", (int)d, n * power);
			assert_int_equal(qcow2_number_parse(text, UINT64_MAX, &value, &err), 0);
			assert_int_equal(value, 3072 + (n << (10 - d)));
			text[strlen(text) - 1] = '\0';
			strcat(text, "1k");
			assert_int_equal(qcow2_number_parse(text, UINT64_MAX, &value, &err), -1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_people_write),
		cmocka_unit_test(refuses_everything_else),
		cmocka_unit_test(keeps_the_limit),
		cmocka_unit_test(an_index_has_no_unit),
		cmocka_unit_test(reads_back_what_is_printed),
		cmocka_unit_test(fractions_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
