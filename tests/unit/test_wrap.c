/* SPDX-License-Identifier: MIT */
/* Wrapping by words: widths, indents, characters of any width, colours, and the terminal's width. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "out/wrap.h"

/* Checks what wrap() writes into a spool. */
#define assert_wraps(wrap, text, column, hanging, width, wanted)                                   \
	do {                                                                                       \
		struct spool out;                                                                  \
                                                                                                   \
		spool_init(&out, -1);                                                              \
		wrap(&out, text, column, hanging, width);                                          \
		spool_write(&out, "", 1);                                                          \
		assert_string_equal(out.kept, wanted);                                             \
		spool_release(&out);                                                               \
	} while (0)

static void test_words(void **state)
{
	(void)state;
	assert_wraps(wrap_text, "", 4, 8, 20, "\n");
	assert_wraps(wrap_text, "one two three", 0, 0, 80, "one two three\n");
	assert_wraps(wrap_text, "one two three", 0, 0, 7, "one two\nthree\n");
	assert_wraps(wrap_text, "one two three", 0, 0, 6, "one\ntwo\nthree\n");
	assert_wraps(wrap_text, "one two three", 2, 4, 9, "  one two\n    three\n");
	assert_wraps(wrap_text, "one  two", 0, 0, 20, "one  two\n");
	assert_wraps(wrap_text, "one  two", 0, 0, 7, "one\ntwo\n");
	assert_wraps(wrap_text, "one two ", 0, 0, 20, "one two\n");
}

static void test_long_words(void **state)
{
	(void)state;
	assert_wraps(wrap_text, "longerthanthat", 2, 4, 8, "  longerthanthat\n");
	assert_wraps(wrap_text, "a longerthanthat b", 0, 2, 8, "a\n  longerthanthat\n  b\n");
	assert_wraps(wrap_text, "longerthanthat", 4, 2, 8, "\n  longerthanthat\n");
}

static void test_newlines(void **state)
{
	(void)state;
	assert_wraps(wrap_text, "one\ntwo", 1, 2, 80, " one\n  two\n");
	assert_wraps(wrap_text, "one\n\ntwo", 1, 2, 80, " one\n\n  two\n");
	assert_wraps(wrap_text, "one\n  two", 0, 0, 80, "one\n  two\n");
}

static void test_begun_line(void **state)
{
	(void)state;
	assert_wraps(wrap_rest, "one two", 4, 4, 11, "one two\n");
	assert_wraps(wrap_rest, "one two", 4, 4, 10, "one\n    two\n");
	assert_wraps(wrap_rest, "one two", 9, 4, 11, "\n    one two\n");
}

static void test_characters(void **state)
{
	(void)state;
	assert_int_equal(text_columns("é"), 1);
	assert_int_equal(text_columns("é…"), 2);
	assert_int_equal(text_columns("e\u0301"), 1);
	assert_int_equal(text_columns("日本"), 4);
	assert_int_equal(text_columns("\xff\xfe"), 2);
	assert_int_equal(text_columns("\033[31mred\033[0m"), 3);
	assert_int_equal(text_columns("\033["), 2);
	assert_wraps(wrap_text, "äöü äöü", 0, 0, 7, "äöü äöü\n");
	assert_wraps(wrap_text, "日本 日本", 0, 0, 8, "日本\n日本\n");
	assert_wraps(wrap_text, "\033[31mred\033[0m red", 0, 0, 7, "\033[31mred\033[0m red\n");
}

/* Standard output is made a pipe: a terminal that runs the tests has a width of its own. */
static void test_terminal(void **state)
{
	static const struct {
		const char *columns;
		unsigned wanted;
	} rows[] = {
		{"120", 120},
		{"80", 80},
		{"1", COLUMNS_LEAST},
		{"0", 80},
		{"", 80},
		{"wide", 80},
		{"-5", 80},
		{"999999999", COLUMNS_MOST},
		{"99999999999", 80},
	};
	int ends[2], saved = dup(STDOUT_FILENO);

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(setenv("COLUMNS", rows[i].columns, 1), 0);
		assert_int_equal(terminal_columns(), rows[i].wanted);
	}
	unsetenv("COLUMNS");
	assert_int_equal(terminal_columns(), COLUMNS_UNKNOWN);
	assert_true(dup2(saved, STDOUT_FILENO) >= 0);
	close(saved);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),      cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_newlines),   cmocka_unit_test(test_begun_line),
		cmocka_unit_test(test_characters), cmocka_unit_test(test_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
