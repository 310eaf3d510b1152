/* SPDX-License-Identifier: MIT */
/* See json_read.h. */
#include "common/json_read.h"

#include <string.h>

#define DEPTH_MOST 32

void json_skip_blanks(struct json_reader *reader)
{
	while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at)
		reader->at++;
}

bool json_take(struct json_reader *reader, char wanted)
{
	json_skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != (uint8_t)wanted)
		return false;
	reader->at++;
	return true;
}

void json_need(struct json_reader *reader, char wanted)
{
	if (!json_take(reader, wanted))
		reader->bad = true;
}

struct qcow2_bytes json_take_string(struct json_reader *reader)
{
	struct qcow2_bytes text = {NULL, 0};

	json_need(reader, '"');
	if (reader->bad)
		return text;
	text.data = reader->at;
	while (reader->at < reader->end && *reader->at != '"') {
		if (*reader->at == '\\' && reader->end - reader->at > 1)
			reader->at++;
		reader->at++;
	}
	text.size = (size_t)(reader->at - text.data);
	json_need(reader, '"');
	return text;
}

uint64_t json_take_number(struct json_reader *reader)
{
	uint64_t number = 0;
	unsigned digits = 0;

	json_skip_blanks(reader);
	for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *reader->at - '0', &number))
			reader->bad = true;
		digits++;
	}
	reader->bad |= digits == 0;
	return number;
}

/* A word or a number. */
static void skip_word(struct json_reader *reader)
{
	const uint8_t *start = reader->at;

	while (reader->at < reader->end && !strchr(",]} \t\r\n", *reader->at))
		reader->at++;
	reader->bad |= reader->at == start;
}

void json_skip_value(struct json_reader *reader)
{
	unsigned depth = 0;

	do {
		json_skip_blanks(reader);
		if (reader->at == reader->end || depth > DEPTH_MOST)
			reader->bad = true;
		else if (*reader->at == '"')
			json_take_string(reader);
		else if (json_take(reader, '{') || json_take(reader, '['))
			depth++;
		else if (depth > 0 && (json_take(reader, '}') || json_take(reader, ']')))
			depth--;
		else if (depth == 0 || !(json_take(reader, ',') || json_take(reader, ':')))
			skip_word(reader);
	} while (depth > 0 && !reader->bad);
}

bool json_is(struct qcow2_bytes text, const char *word)
{
	return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

bool json_take_bool(struct json_reader *reader)
{
	static const char *const words[] = {"false", "true"};

	json_skip_blanks(reader);
	for (unsigned i = 0; i < 2 && !reader->bad; i++) {
		const size_t size = strlen(words[i]);

		if ((size_t)(reader->end - reader->at) >= size &&
		    memcmp(reader->at, words[i], size) == 0) {
			reader->at += size;
			return i == 1;
		}
	}
	reader->bad = true;
	return false;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool json_take_hex(struct qcow2_bytes text, uint8_t *bytes, size_t size)
{
	if (text.size != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		const int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
