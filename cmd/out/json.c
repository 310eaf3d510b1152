/* SPDX-License-Identifier: MIT */
/* See json.h. */
#include "out/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include <qcow2/text.h>

void json_init(struct json *json, struct spool *out, unsigned indent, bool ascii)
{
	*json = (struct json){.out = out, .indent = indent, .ascii = ascii};
}

static void new_line(struct json *json)
{
	static const char spaces[] = "                                                        ";
	size_t columns = (size_t)json->depth * json->indent;

	spool_write(json->out, "\n", 1);
	while (columns > 0) {
		size_t piece = columns < sizeof(spaces) - 1 ? columns : sizeof(spaces) - 1;

		spool_write(json->out, spaces, piece);
		columns -= piece;
	}
}

/* What has to stand before a value or a key. */
static void separate(struct json *json)
{
	if (json->after_key) {
		json->after_key = false;
		return;
	}
	if (json->depth == 0)
		return;
	if (json->filled[json->depth])
		spool_write(json->out, ",", 1);
	json->filled[json->depth] = true;
	new_line(json);
}

static void begin(struct json *json, const char *bracket)
{
	separate(json);
	spool_write(json->out, bracket, 1);
	json->depth++;
	assert(json->depth < JSON_DEPTH_MAX);
	json->filled[json->depth] = false;
}

static void end(struct json *json, const char *bracket)
{
	bool filled = json->filled[json->depth];

	json->depth--;
	if (filled)
		new_line(json);
	spool_write(json->out, bracket, 1);
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
	separate(json);
	spool_write(json->out, "\"", 1);
	spool_text(json->out, key);
	spool_write(json->out, "\": ", 3);
	json->after_key = true;
}

void json_number(struct json *json, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	separate(json);
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	spool_write(json->out, digits + at, sizeof(digits) - at);
}

void json_bool(struct json *json, bool truth)
{
	separate(json);
	spool_text(json->out, truth ? "true" : "false");
}

void json_null(struct json *json)
{
	separate(json);
	spool_text(json->out, "null");
}

static void write_unit(struct json *json, uint32_t unit)
{
	spool_print(json->out, "\\u%04" PRIx32, unit);
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

/* How many bytes from at on need no thought. */
static size_t plain_run(struct qcow2_bytes text, size_t at)
{
	size_t size = 0;

	while (at + size < text.size) {
		uint8_t c = text.data[at + size];

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			break;
		size++;
	}
	return size;
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
	separate(json);
	spool_write(json->out, "\"", 1);
	write_text(json, bytes);
	spool_write(json->out, "\"", 1);
}

void json_bytes_as_quoted_text(struct json *json, struct qcow2_bytes bytes)
{
	separate(json);
	spool_write(json->out, "\"'", 2);
	write_text(json, bytes);
	spool_write(json->out, "'\"", 2);
}

void json_text(struct json *json, const char *text)
{
	json_bytes_as_text(json, (struct qcow2_bytes){(const uint8_t *)text, strlen(text)});
}

void json_hex(struct json *json, struct qcow2_bytes bytes)
{
	static const char digits[] = "0123456789abcdef";

	separate(json);
	spool_write(json->out, "\"", 1);
	for (size_t i = 0; i < bytes.size; i++) {
		char two[2] = {digits[bytes.data[i] >> 4], digits[bytes.data[i] & 15]};

		spool_write(json->out, two, 2);
	}
	spool_write(json->out, "\"", 1);
}
