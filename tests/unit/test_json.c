/* SPDX-License-Identifier: MIT */
/* The library's reader of JSON: what it takes and refuses, and what values say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static struct qcow2_bytes bytes(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

/* The value of a text, which is read from a buffer that ends where it ends. */
static struct qcow2_bytes value_of(const char *text)
{
	struct qcow2_bytes value;

	assert_true(q2_json_check(bytes(text), &value));
	return value;
}

static bool is_json(const char *text, size_t size)
{
	uint8_t *copy = malloc(size + (size == 0));
	struct qcow2_bytes value;
	bool is;

	assert_non_null(copy);
	memcpy(copy, text, size);
	is = q2_json_check((struct qcow2_bytes){copy, size}, &value);
	free(copy);
	return is;
}

static void documents(void **state)
{
	static const char *const good[] = {
		"{}",
		"[]",
		"0",
		"-0",
		"12",
		"-1.50e+07",
		"1E-2",
		"true",
		"false",
		"null",
		"\"\"",
		" \t\r\n{ \"a\" : [ 1 , 2 ] , \"a\" : { } } ",
		"[[[]],{}]",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83D\"",
		"\"\xc3\xa4\xf0\x9f\x98\x80\x7f\"",
		"[\"\",0,true]",
	};
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"}",
		"[",
		"]",
		"{]",
		"[}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{a:1}",
		"{1:1}",
		"01",
		"-",
		"+1",
		".5",
		"1.",
		"1e",
		"1e+",
		"0x1",
		"1 2",
		"nul",
		"nulll",
		"True",
		"NaN",
		"Infinity",
		"'a'",
		"\"",
		"\"\\",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\n\"",
		"\"\t\"",
		"\"\x1f\"",
		"\"\xff\"",
		"\"\xc0\x80\"",
		"\"\xed\xa0\x80\"",
		"{}x",
		"[]]",
		"\xef\xbb\xbf{}",
		"//\n1",
		"[1]/**/",
		"{\"a\":1 \"b\":2}",
		"{,}",
		"{\"a\"::1}",
		"\v1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(is_json(good[i], strlen(good[i])));
		/* No part of a container or of a string is a document. */
		for (size_t size = 0; size < strlen(good[i]) && strchr("{[\"", good[i][0]); size++)
			assert_false(is_json(good[i], size));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(is_json(bad[i], strlen(bad[i])));
	assert_false(is_json("[\0]", 3));
	assert_false(is_json("{}\0", 3));
}

static void depth(void **state)
{
	char text[2 * Q2_JSON_DEPTH + 3];

	(void)state;
	memset(text, '[', Q2_JSON_DEPTH);
	memset(text + Q2_JSON_DEPTH, ']', Q2_JSON_DEPTH);
	assert_true(is_json(text, 2 * Q2_JSON_DEPTH));
	memset(text, '[', Q2_JSON_DEPTH + 1);
	memset(text + Q2_JSON_DEPTH + 1, ']', Q2_JSON_DEPTH + 1);
	assert_false(is_json(text, 2 * Q2_JSON_DEPTH + 2));
}

static void kinds(void **state)
{
	(void)state;
	assert_int_equal(q2_json_kind((struct qcow2_bytes){NULL, 0}), Q2_JSON_NOTHING);
	assert_int_equal(q2_json_kind(value_of(" {}")), Q2_JSON_OBJECT);
	assert_int_equal(q2_json_kind(value_of("[]")), Q2_JSON_ARRAY);
	assert_int_equal(q2_json_kind(value_of("\"1\"")), Q2_JSON_STRING);
	assert_int_equal(q2_json_kind(value_of("-1")), Q2_JSON_NUMBER);
	assert_int_equal(q2_json_kind(value_of("true")), Q2_JSON_WORD);
	assert_int_equal(q2_json_kind(value_of("null ")), Q2_JSON_WORD);
}

static void members(void **state)
{
	struct qcow2_bytes object =
		value_of("{ \"one\" : 1, \"t\\u0077o\":{\"one\":2},\"one\\u0000\":3,"
			 "\"twice\":1, \"twice\":2, \"\":[ ] }");
	struct qcow2_bytes value, inner;

	(void)state;
	assert_int_equal(q2_json_member(object, "one", &value), 1);
	assert_int_equal(value.size, 1);
	assert_int_equal(q2_json_member(object, "two", &value), 1);
	assert_int_equal(q2_json_member(value, "one", &inner), 1);
	assert_memory_equal(inner.data, "2", 1);
	assert_int_equal(q2_json_member(object, "twice", &value), 2);
	assert_int_equal(q2_json_kind(value), Q2_JSON_NOTHING);
	assert_int_equal(q2_json_member(object, "three", &value), 0);
	assert_int_equal(q2_json_kind(value), Q2_JSON_NOTHING);
	assert_int_equal(q2_json_member(object, "", &value), 1);
	assert_int_equal(value.size, 3);
	assert_int_equal(q2_json_member(value_of("[\"one\",1]"), "one", &value), 0);
	assert_int_equal(q2_json_member(value_of("7"), "one", &value), 0);
	assert_int_equal(q2_json_member((struct qcow2_bytes){NULL, 0}, "one", &value), 0);
}

static void items(void **state)
{
	struct q2_json_items items = q2_json_items(value_of("[ 1 ,\"2\", [3,4] ,{} ]"));
	struct qcow2_bytes key, value;
	size_t sizes[] = {1, 3, 5, 2}, count = 0;

	(void)state;
	assert_false(items.has_keys);
	for (; q2_json_next(&items, &key, &value); count++) {
		assert_true(count < 4);
		assert_int_equal(value.size, sizes[count]);
		assert_int_equal(key.size, 0);
	}
	assert_int_equal(count, 4);
	assert_false(q2_json_next(&items, &key, &value));
	items = q2_json_items(value_of("{ }"));
	assert_true(items.has_keys);
	assert_false(q2_json_next(&items, &key, &value));
	items = q2_json_items(value_of("3"));
	assert_false(q2_json_next(&items, &key, &value));
	items = q2_json_items(value_of("{\"a\":{\"b\":[]},\"c\":0}"));
	assert_true(q2_json_next(&items, &key, &value));
	assert_true(q2_json_is(key, "a"));
	assert_int_equal(value.size, 8);
	assert_true(q2_json_next(&items, &key, &value));
	assert_true(q2_json_is(key, "c"));
	assert_false(q2_json_next(&items, &key, &value));
}

static void strings(void **state)
{
	char text[6];

	(void)state;
	assert_true(q2_json_is(value_of("\"a\\/\\u0062\""), "a/b"));
	assert_false(q2_json_is(value_of("\"ab\""), "a"));
	assert_false(q2_json_is(value_of("\"a\""), "ab"));
	assert_false(q2_json_is(value_of("1"), "1"));
	assert_false(q2_json_is((struct qcow2_bytes){NULL, 0}, ""));
	assert_true(q2_json_is(value_of("\"\""), ""));
	assert_true(q2_json_text(value_of("\"a\\u0062\\n/\\\\\""), text, sizeof(text)));
	assert_string_equal(text, "ab\n/\\");
	assert_false(q2_json_text(value_of("\"abcdef\""), text, sizeof(text)));
	assert_true(q2_json_text(value_of("\"\""), text, 1));
	assert_false(q2_json_text(value_of("\"\""), text, 0));
	assert_false(q2_json_text(value_of("\"\\u0000\""), text, sizeof(text)));
	assert_false(q2_json_text(value_of("\"\\u00e4\""), text, sizeof(text)));
	assert_false(q2_json_text(value_of("\"\xc3\xa4\""), text, sizeof(text)));
	assert_false(q2_json_text(value_of("[]"), text, sizeof(text)));
}

static void numbers(void **state)
{
	static const char *const not_numbers[] = {"-1",   "1.0", "1e3", "18446744073709551616",
						  "true", "[]",  "-0",  "99999999999999999999999"};
	uint64_t number;

	(void)state;
	assert_true(q2_json_number(value_of("0"), &number));
	assert_int_equal(number, 0);
	assert_true(q2_json_number(value_of("18446744073709551615"), &number));
	assert_true(number == UINT64_MAX);
	for (size_t i = 0; i < sizeof(not_numbers) / sizeof(not_numbers[0]); i++) {
		char text[40];

		assert_false(q2_json_number(value_of(not_numbers[i]), &number));
		snprintf(text, sizeof(text), "\"%s\"", not_numbers[i]);
		assert_false(q2_json_decimal(value_of(text), &number));
	}
	assert_false(q2_json_number(value_of("\"5\""), &number));
	assert_false(q2_json_decimal(value_of("5"), &number));
	assert_false(q2_json_decimal(value_of("\"\""), &number));
	assert_false(q2_json_decimal(value_of("\"05\""), &number));
	assert_false(q2_json_decimal(value_of("\" 5\""), &number));
	assert_true(q2_json_decimal(value_of("\"18446744073709551615\""), &number));
	assert_true(number == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents), cmocka_unit_test(depth), cmocka_unit_test(kinds),
		cmocka_unit_test(members),   cmocka_unit_test(items), cmocka_unit_test(strings),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
