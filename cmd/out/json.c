/* SPDX-License-Identifier: MIT */
/* See json.h. */
#include "out/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

#define PLAIN_STEP 16 /* bytes of a text that are looked at together */

static const char hex_digits[] = "0123456789abcdef";

void json_init(struct json *json, struct spool *out, unsigned indent, bool ascii)
{
	*json = (struct json){.out = out, .indent = indent, .ascii = ascii};
}

/* The bytes that a new line takes, and a comma before it. */
static size_t separator_size(const struct json *json)
{
	return 2 + (size_t)json->depth * json->indent;
}

static char *put_line(const struct json *json, char *to)
{
	size_t columns = (size_t)json->depth * json->indent;

	if (json->line_depth != 0 && json->depth >= json->line_depth) {
		*to++ = ' ';
		return to;
	}
	*to++ = '\n';
	memset(to, ' ', columns);
	return to + columns;
}

/* What has to stand before a value or a key; there is room for it. Returns where it ends. */
static char *put_separator(struct json *json, char *to)
{
	if (json->after_key) {
		json->after_key = false;
		return to;
	}
	if (json->depth == 0)
		return to;
	if (json->filled[json->depth])
		*to++ = ',';
	else if (json->line_depth == json->depth)
		return json->filled[json->depth] = true, to;
	json->filled[json->depth] = true;
	return put_line(json, to);
}

/* A separator and size bytes, which are one of our keys, a number, or less. */
static void put(struct json *json, const char *bytes, size_t size)
{
	char *to = spool_reserve(json->out, separator_size(json) + size);

	if (!to)
		return;
	to = put_separator(json, to);
	memcpy(to, bytes, size);
	spool_advance(json->out, to + size);
}

static void begin(struct json *json, const char *bracket)
{
	put(json, bracket, 1);
	json->depth++;
	assert(json->depth < JSON_DEPTH_MAX);
	json->filled[json->depth] = false;
}

static void end(struct json *json, const char *bracket)
{
	bool on_line = json->line_depth != 0 && json->depth >= json->line_depth;
	bool filled = json->filled[json->depth] && !on_line;
	char *to = spool_reserve(json->out, separator_size(json) + 1);

	if (json->line_depth == json->depth--)
		json->line_depth = 0;
	if (!to)
		return;
	if (filled)
		to = put_line(json, to);
	*to++ = *bracket;
	spool_advance(json->out, to);
}

void json_begin_line_object(struct json *json)
{
	begin(json, "{");
	if (json->line_depth == 0)
		json->line_depth = json->depth;
}

void json_begin_object(struct json *json)
{
	begin(json, "{");
}

void json_end_object(struct json *json)
{
	end(json, "}");
}

void json_begin_array(struct json *json)
{
	begin(json, "[");
}

void json_end_array(struct json *json)
{
	end(json, "]");
}

void json_key(struct json *json, const char *key)
{
	size_t size = strlen(key);
	char *to = spool_reserve(json->out, separator_size(json) + size + 4);

	if (to) {
		to = put_separator(json, to);
		*to++ = '"';
		memcpy(to, key, size);
		to += size;
		memcpy(to, "\": ", 3);
		spool_advance(json->out, to + 3);
	}
	json->after_key = true;
}

void json_number(struct json *json, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	/* Two at a time: most of a bulk table is numbers, and a division is what a digit costs. */
	for (; number >= 100; number /= 100) {
		unsigned two = (unsigned)(number % 100);

		digits[--at] = (char)('0' + two % 10);
		digits[--at] = (char)('0' + two / 10);
	}
	if (number >= 10)
		digits[--at] = (char)('0' + number % 10);
	digits[--at] = (char)('0' + (number >= 10 ? number / 10 : number));
	put(json, digits + at, sizeof(digits) - at);
}

void json_bool(struct json *json, bool truth)
{
	put(json, truth ? "true" : "false", truth ? 4 : 5);
}

void json_null(struct json *json)
{
	put(json, "null", 4);
}

static void write_unit(struct json *json, uint32_t unit)
{
	const char escape[] = {'\\',
			       'u',
			       hex_digits[unit >> 12 & 15],
			       hex_digits[unit >> 8 & 15],
			       hex_digits[unit >> 4 & 15],
			       hex_digits[unit & 15]};

	spool_write(json->out, escape, sizeof(escape));
}

/* A character as escapes of 16-bit units; beyond the first plane there are two. */
static void write_escaped(struct json *json, uint32_t codepoint)
{
	if (codepoint <= 0xffff) {
		write_unit(json, codepoint);
		return;
	}
	write_unit(json, 0xd800 + ((codepoint - 0x10000) >> 10));
	write_unit(json, 0xdc00 + ((codepoint - 0x10000) & 0x3ff));
}

/* The short escapes that JSON has, or NULL. */
static const char *short_escape(uint32_t codepoint)
{
	switch (codepoint) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	case '\t':
		return "\\t";
	case '\b':
		return "\\b";
	case '\f':
		return "\\f";
	default:
		return NULL;
	}
}

static void write_character(struct json *json, uint32_t codepoint, const uint8_t *bytes,
			    size_t size)
{
	const char *escape = short_escape(codepoint);

	if (escape)
		spool_write(json->out, escape, 2);
	else if (codepoint < 0x20 || (json->ascii && codepoint > 0x7e))
		write_escaped(json, codepoint);
	else if (codepoint > 0x7e && !qcow2_text_is_printable(codepoint) && codepoint != 0xfffd)
		write_escaped(json, codepoint);
	else
		spool_write(json->out, bytes, size);
}

static bool is_plain(uint8_t c)
{
	return (c >= 0x20) & (c <= 0x7e) & (c != '"') & (c != '\\');
}

/* Without a branch, so that a compiler makes one comparison of it. */
static bool are_plain(const uint8_t *bytes)
{
	unsigned plain = 1;

	for (unsigned i = 0; i < PLAIN_STEP; i++)
		plain &= is_plain(bytes[i]);
	return plain != 0;
}

/* How many bytes from at on need no thought. */
static size_t plain_run(struct qcow2_bytes text, size_t at)
{
	size_t end = at;

	while (text.size - end >= PLAIN_STEP && are_plain(text.data + end))
		end += PLAIN_STEP;
	while (end < text.size && is_plain(text.data[end]))
		end++;
	return end - at;
}

/* The inside of a string. */
static void write_text(struct json *json, struct qcow2_bytes bytes)
{
	size_t at = 0;

	while (at < bytes.size) {
		size_t plain = plain_run(bytes, at);
		struct qcow2_bytes rest = {bytes.data + at + plain, bytes.size - at - plain};
		uint32_t codepoint;
		bool valid;
		size_t size;

		spool_write(json->out, bytes.data + at, plain);
		at += plain;
		if (at == bytes.size)
			break;
		size = qcow2_text_next(rest, &codepoint, &valid);
		if (valid)
			write_character(json, codepoint, rest.data, size);
		else if (json->ascii)
			write_unit(json, 0xfffd);
		else
			spool_write(json->out, "\xef\xbf\xbd", 3);
		at += size;
	}
}

void json_bytes_as_text(struct json *json, struct qcow2_bytes bytes)
{
	put(json, "\"", 1);
	write_text(json, bytes);
	spool_write(json->out, "\"", 1);
}

void json_bytes_as_quoted_text(struct json *json, struct qcow2_bytes bytes)
{
	put(json, "\"'", 2);
	write_text(json, bytes);
	spool_write(json->out, "'\"", 2);
}

void json_text(struct json *json, const char *text)
{
	json_bytes_as_text(json, (struct qcow2_bytes){(const uint8_t *)text, strlen(text)});
}

void json_hex(struct json *json, struct qcow2_bytes bytes)
{
	put(json, "\"", 1);
	for (size_t i = 0; i < bytes.size; i++) {
		char two[2] = {hex_digits[bytes.data[i] >> 4], hex_digits[bytes.data[i] & 15]};

		spool_write(json->out, two, 2);
	}
	spool_write(json->out, "\"", 1);
}

/* Eight digits of a number, all at once: bulk tables have one such number in each row. */
static void put_eight_digits(char *to, uint32_t number)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t x = number, letters;

	/* a digit into each byte, the first one into the highest */
	x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
	x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
	x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	letters = ((x + ones * 6) >> 4) & ones;
	x += ones * '0' + letters * ('a' - '9' - 1);
	for (unsigned i = 0; i < 8; i++)
		to[i] = (char)(x >> (56 - 8 * i));
}

void json_number_member(struct json *json, const char *key, uint64_t number)
{
	json_key(json, key);
	json_number(json, number);
}

void json_hex_member(struct json *json, const char *key, uint64_t number)
{
	size_t size = strlen(key), zeros = number > 0 ? (size_t)__builtin_clzll(number) / 4 : 15;
	char *to =
		spool_reserve(json->out, separator_size(json) + size + sizeof("\"\": \"0x\"") + 16);
	char digits[16];

	if (!to)
		return;
	put_eight_digits(digits, (uint32_t)(number >> 32));
	put_eight_digits(digits + 8, (uint32_t)number);
	to = put_separator(json, to);
	*to++ = '"';
	memcpy(to, key, size);
	to += size;
	memcpy(to, "\": \"0x", 6);
	to += 6;
	memcpy(to, digits + zeros, sizeof(digits) - zeros);
	to += sizeof(digits) - zeros;
	*to++ = '"';
	spool_advance(json->out, to);
}

void json_text_member(struct json *json, const char *key, struct qcow2_bytes bytes)
{
	char hex_key[80];

	json_key(json, key);
	json_bytes_as_text(json, bytes);
	if (qcow2_text_is_utf8(bytes))
		return;
	snprintf(hex_key, sizeof(hex_key), "%s-hex", key);
	json_key(json, hex_key);
	json_hex(json, bytes);
}
