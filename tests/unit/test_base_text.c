/* SPDX-License-Identifier: MIT */
/*
 * UTF-8, what is safe to print, the escaping of text, and the text of errors.
 */
#include "base/error.h"
#include "base/utf8.h"

#include <qcow2/text.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

/* The first and the last character of each length, and around what is left out. */
static void decodes_the_edges(void **state)
{
	static const struct {
		const char *text;
		uint32_t codepoint;
	} good[] = {
		{"\x01", 0x1},
		{"\x7f", 0x7f},
		{"\xc2\x80", 0x80},
		{"\xdf\xbf", 0x7ff},
		{"\xe0\xa0\x80", 0x800},
		{"\xed\x9f\xbf", 0xd7ff},
		{"\xee\x80\x80", 0xe000},
		{"\xef\xbf\xbd", 0xfffd},
		{"\xef\xbf\xbf", 0xffff},
		{"\xf0\x90\x80\x80", 0x10000},
		{"\xf4\x8f\xbf\xbf", 0x10ffff},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint32_t codepoint;
		bool valid;

		assert_int_equal(qcow2_text_next(bytes_of(good[i].text), &codepoint, &valid),
				 strlen(good[i].text));
		assert_true(valid);
		assert_int_equal(codepoint, good[i].codepoint);
		assert_true(qcow2_text_is_utf8(bytes_of(good[i].text)));
	}
	assert_true(qcow2_text_is_utf8((struct qcow2_bytes){NULL, 0}));
	assert_true(qcow2_text_is_utf8((struct qcow2_bytes){(const uint8_t *)"\0", 1}));
}

static void refuses_what_is_not_utf8(void **state)
{
	static const char *const bad[] = {
		"\x80", /* begins with a continuation */
		"\xbf",
		"\xc0\x80", /* overlong NUL */
		"\xc1\xbf", /* overlong */
		"\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80", /* surrogates */
		"\xed\xbf\xbf",
		"\xf4\x90\x80\x80", /* above U+10FFFF */
		"\xf5\x80\x80\x80",
		"\xff",
		"\xc3", /* cut short */
		"\xe2\x82",
		"\xf0\x9f\x98",
		"\xe2\x82\x41", /* a letter instead of a continuation */
		"\xe2\x82\xc0",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t codepoint = 0;
		bool valid = true;

		assert_false(qcow2_text_is_utf8(bytes_of(bad[i])));
		assert_int_equal(qcow2_text_next(bytes_of(bad[i]), &codepoint, &valid), 1);
		assert_false(valid);
		assert_int_equal(codepoint, 0xfffd);
	}
}

static void nothing_left_to_decode(void **state)
{
	uint32_t codepoint = 0;
	bool valid = true;

	(void)state;
	assert_int_equal(qcow2_text_next((struct qcow2_bytes){NULL, 0}, &codepoint, &valid), 0);
	assert_false(valid);
	assert_int_equal(codepoint, 0xfffd);
}

static void what_may_be_printed(void **state)
{
	static const uint32_t safe[] = {' ',    'a',    '~',     0xa0,    0xae,    0xe4,    0x20ac,
					0x200a, 0x2010, 0x2027,  0x202f,  0xd7ff,  0xe000,  0xfdcf,
					0xfdf0, 0xfffd, 0x1f600, 0x1fffd, 0xe1000, 0x10fffd};
	static const uint32_t unsafe[] = {
		0,          0x1b,    0x1f,    0x7f,    0x80,    0x9b,    0x9f,     0x61c,
		0x200b,     0x200d,  0x200e,  0x200f,  0x2028,  0x2029,  0x202a,   0x202e,
		0x2066,     0x2069,  0xd800,  0xdfff,  0xfdd0,  0xfdef,  0xfeff,   0xfffe,
		0xffff,     0x1fffe, 0x1ffff, 0xe0000, 0xe0041, 0xe007f, 0x10ffff, 0x110000,
		UINT32_MAX, 0x34f,   0x3164,  0xffa0,  0xe0fff};

	(void)state;
	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		assert_true(qcow2_text_is_printable(safe[i]));
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
		assert_false(qcow2_text_is_printable(unsafe[i]));
}

static void assert_escaped(struct qcow2_bytes text, const char *expected)
{
	char buffer[128];

	assert_int_equal(qcow2_text_escape(text, buffer, sizeof(buffer)), strlen(expected));
	assert_string_equal(buffer, expected);
	assert_int_equal(qcow2_text_escape(text, NULL, 0), strlen(expected));
}

static void escapes(void **state)
{
	(void)state;
	assert_escaped(bytes_of(""), "");
	assert_escaped((struct qcow2_bytes){NULL, 0}, "");
	assert_escaped(bytes_of("plain \"text\""), "plain \"text\"");
	assert_escaped(bytes_of("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
		       "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
	assert_escaped(bytes_of("a\tb\nc\rd\\n"), "a\\tb\\nc\\rd\\\\n");
	assert_escaped(bytes_of("\x1b[31m\x7f"), "\\u{1b}[31m\\u{7f}");
	assert_escaped((struct qcow2_bytes){(const uint8_t *)"a\0b", 3}, "a\\u{0}b");
	/* C1 as UTF-8 is a character; as a bare byte it is not */
	assert_escaped(bytes_of("\xc2\x9b\x9b"), "\\u{9b}\\x9b");
	assert_escaped(bytes_of("\xe2\x80\xae"
				"txt"),
		       "\\u{202e}txt");
	assert_escaped(bytes_of("\xed\xa0\x80"), "\\xed\\xa0\\x80");
	assert_escaped(bytes_of("\xf4\x8f\xbf\xbf"), "\\u{10ffff}");
	/* a run that is longer than what is looked at together */
	assert_escaped(
		bytes_of("0123456789012345678901234567890123456789012345678901234567890123456789"
			 "\\\n0123456789"),
		"0123456789012345678901234567890123456789012345678901234567890123456789"
		"\\\\\\n0123456789");
}

/* The start of a text alone gives what all of it does, wherever a character is cut. */
static void escapes_the_start(void **state)
{
	static const char *const texts[] = {"plain text of some length",
					    "\xc3\xbc\xc3\xbc\xc3\xbc",
					    "\xe2\x82\xac\xe2\x82\xac",
					    "a\xf0\x9f\x98\x80z",
					    "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf",
					    "\xff\xfe\x80",
					    "\x01\n\\\x7f"};
	char whole[32], start[32];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (size_t size = 1; size <= sizeof(whole); size++) {
			qcow2_text_escape(bytes_of(texts[i]), whole, size);
			q2_text_escape_start(bytes_of(texts[i]), start, size);
			assert_string_equal(start, whole);
		}
}

/* A name of nothing but backslashes: the work must grow with its length, not with the square. */
static void escapes_in_linear_time(void **state)
{
	enum { SIZE = 4 << 20 };
	uint8_t *text = malloc(SIZE);
	char buffer[8];

	(void)state;
	assert_non_null(text);
	memset(text, '\\', SIZE);
	assert_int_equal(
		qcow2_text_escape((struct qcow2_bytes){text, SIZE}, buffer, sizeof(buffer)),
		2 * SIZE);
	assert_string_equal(buffer, "\\\\\\\\\\\\");
	free(text);
}

static void escapes_are_never_cut_in_half(void **state)
{
	/* lengths 1, 2 (ü), 4 (\x80), 1 */
	static const char *const expected[] = {"",
					       "",
					       "a",
					       "a",
					       "a\xc3\xbc",
					       "a\xc3\xbc",
					       "a\xc3\xbc",
					       "a\xc3\xbc",
					       "a\xc3\xbc\\x80",
					       "a\xc3\xbc\\x80z"};
	char buffer[16];

	(void)state;
	for (size_t size = 1; size < sizeof(expected) / sizeof(expected[0]); size++) {
		memset(buffer, '#', sizeof(buffer));
		assert_int_equal(qcow2_text_escape(bytes_of("a\xc3\xbc\x80z"), buffer, size), 8);
		assert_string_equal(buffer, expected[size]);
		assert_int_equal(buffer[size], '#');
	}
}

static void error_is_filled(void **state)
{
	struct qcow2_error err;

	(void)state;
	memset(&err, 0x55, sizeof(err));
	assert_int_equal(q2_fail(&err, QCOW2_ERROR_BROKEN, 0x30000, "entry %d of %s", 7, "L1"), -1);
	assert_int_equal(err.code, QCOW2_ERROR_BROKEN);
	assert_int_equal(err.errnum, 0);
	assert_int_equal(err.offset_bytes, 0x30000);
	assert_string_equal(err.text, "entry 7 of L1");

	assert_int_equal(q2_fail_errno(&err, EIO, QCOW2_NO_OFFSET, "cannot %s", "read"), -1);
	assert_int_equal(err.code, QCOW2_ERROR_IO);
	assert_int_equal(err.errnum, EIO);
	assert_true(err.offset_bytes == UINT64_MAX);
	assert_string_equal(err.text, "cannot read: Input/output error");

	assert_int_equal(q2_fail_memory(&err), -1);
	assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
	assert_int_equal(q2_fail_errno(&err, 99999, 0, "x"), -1);
	assert_string_equal(err.text, "x: unknown error");
	/* an error may be wrapped into itself */
	(void)q2_fail(&err, QCOW2_ERROR_IO, 0, "while y: %s", err.text);
	assert_string_equal(err.text, "while y: x: unknown error");

	assert_int_equal(q2_fail(NULL, QCOW2_ERROR_IO, 0, "nobody listens"), -1);
	assert_int_equal(q2_fail_errno(NULL, EIO, 0, "nobody listens"), -1);
	assert_int_equal(q2_fail_memory(NULL), -1);
}

static void error_text_is_safe(void **state)
{
	char name[400];
	struct qcow2_error err;

	(void)state;
	(void)q2_fail(&err, QCOW2_ERROR_BROKEN, 0, "a\x1b[2J\nb\xffg\xc3\xbc\xe2\x80\xae.");
	assert_string_equal(err.text, "a?[2J?b?g\xc3\xbc?.");

	/* 255 bytes of room: 127 characters of two bytes, and half of one does not go in */
	for (size_t i = 0; i + 1 < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xbc", 2);
	name[sizeof(name) - 2] = '\0';
	(void)q2_fail(&err, QCOW2_ERROR_BROKEN, 0, "%s", name);
	assert_int_equal(strlen(err.text), 254);
	assert_true(qcow2_text_is_utf8(bytes_of(err.text)));
	(void)q2_fail(&err, QCOW2_ERROR_BROKEN, 0, "x%s", name);
	assert_int_equal(strlen(err.text), 255);
	/* far longer than any draft */
	(void)q2_fail_errno(&err, EIO, 0, "%4000d", 1);
	assert_int_equal(strlen(err.text), 255);
}

static void error_names(void **state)
{
	(void)state;
	assert_string_equal(qcow2_error_name(QCOW2_ERROR_NOT_QCOW2), "not qcow2");
	assert_string_equal(qcow2_error_name(QCOW2_ERROR_UNSUPPORTED), "unsupported");
	for (int code = QCOW2_ERROR_NONE; code <= QCOW2_ERROR_MISMATCH; code++)
		for (int other = QCOW2_ERROR_NONE; other < code; other++)
			assert_string_not_equal(qcow2_error_name((enum qcow2_error_code)code),
						qcow2_error_name((enum qcow2_error_code)other));
	assert_string_equal(qcow2_error_name((enum qcow2_error_code)(QCOW2_ERROR_MISMATCH + 1)),
			    "unknown");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_the_edges),
		cmocka_unit_test(refuses_what_is_not_utf8),
		cmocka_unit_test(nothing_left_to_decode),
		cmocka_unit_test(what_may_be_printed),
		cmocka_unit_test(escapes),
		cmocka_unit_test(escapes_in_linear_time),
		cmocka_unit_test(escapes_the_start),
		cmocka_unit_test(escapes_are_never_cut_in_half),
		cmocka_unit_test(error_is_filled),
		cmocka_unit_test(error_text_is_safe),
		cmocka_unit_test(error_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
