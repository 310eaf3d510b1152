/* SPDX-License-Identifier: MIT */
/* How near words are, which one is suggested, and lists of names that are cut. */
#include "out/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void distances(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} pairs[] = {
		{"check", "check", 0},     {"chekc", "check", 1}, {"chek", "check", 1},
		{"checkk", "check", 1},    {"vheck", "check", 1}, {"CHECK", "check", 0},
		{"l1-size", "l1_size", 0}, {"", "add", 3},        {"kcehc", "check", 3},
		{"ouput", "output", 1},    {"lits", "list", 1},   {"abcd", "badc", 2},
	};
	char far[SUGGEST_WORD_MOST + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		unsigned distance = pairs[i].distance;

		assert_int_equal(suggest_distance(pairs[i].a, pairs[i].b, 9), distance);
		assert_int_equal(suggest_distance(pairs[i].b, pairs[i].a, 9), distance);
		if (distance > 0)
			assert_int_equal(suggest_distance(pairs[i].a, pairs[i].b, distance - 1),
					 distance);
	}
	memset(far, 'x', sizeof(far));
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(suggest_distance(far, far, 4), 5);
	far[sizeof(far) - 2] = '\0';
	assert_int_equal(suggest_distance(far, far, 4), 0);
}

static void suggestions(void **state)
{
	static const struct {
		const char *word, *text;
	} cases[] = {
		{"chekc", ": did you mean check?"},
		{"inf", ": did you mean info?"},
		{"compatible", ""},
		{"x", ""},
		{"", ""},
		{"zz", ""},
		{"comp", ": did you mean compat?"},
		{"dmup", ": did you mean dump?"},
		{"\xff\x1b[31m", ""},
	};
	char text[SUGGEST_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(suggest_of_words(cases[i].word, "info dump check  compat", text,
						     sizeof(text)),
				    cases[i].text);
}

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void lists(void **state)
{
	char text[64], large[300];
	struct name_list list;

	(void)state;
	name_list_begin(&list, text, sizeof(text));
	name_list_add(&list, bytes_of("a"));
	name_list_add(&list, bytes_of("b\x1b\n"));
	assert_string_equal(name_list_end(&list), "a, b\\u{1b}\\n");
	name_list_begin(&list, text, sizeof(text));
	for (int i = 0; i < 1000; i++)
		name_list_add(&list, bytes_of("bitmap"));
	assert_string_equal(name_list_end(&list), "bitmap, bitmap, bitmap, bitmap and 996 more");
	/* A name that does not fit ends the list, so that it stays in order. */
	memset(large, 'x', sizeof(large));
	name_list_begin(&list, text, sizeof(text));
	name_list_add(&list, (struct qcow2_bytes){(const uint8_t *)large, sizeof(large)});
	name_list_add(&list, bytes_of("a"));
	assert_string_equal(name_list_end(&list), "2 of them");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(distances),
		cmocka_unit_test(suggestions),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
