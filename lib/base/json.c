/* SPDX-License-Identifier: MIT */
/*
 * See json.h. There is one parser: what checks a document also finds where a value ends when its
 * items are asked for, so that both agree about any text.
 */
#include "base/json.h"

#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"

/* Digits of 2^64 - 1, with a NUL. */
#define DECIMAL_BYTES 21

struct reader {
	const uint8_t *at, *end;
};

static void skip_blanks(struct reader *r)
{
	while (r->at < r->end &&
	       (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

/* Whether the next byte is this one, which is taken. */
static bool take(struct reader *r, char wanted)
{
	if (r->at == r->end || *r->at != (uint8_t)wanted)
		return false;
	r->at++;
	return true;
}

/* ---- strings ---- */

static bool take_hex(struct reader *r, uint32_t *out)
{
	*out = 0;
	for (unsigned i = 0; i < 4; i++, r->at++) {
		uint32_t digit;

		if (r->at == r->end)
			return false;
		if (*r->at >= '0' && *r->at <= '9')
			digit = *r->at - (uint32_t)'0';
		else if ((*r->at | 0x20) >= 'a' && (*r->at | 0x20) <= 'f')
			digit = (*r->at | 0x20U) - 'a' + 10;
		else
			return false;
		*out = *out << 4 | digit;
	}
	return true;
}

static bool take_escape(struct reader *r, uint32_t *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (r->at == r->end)
		return false;
	if (take(r, 'u'))
		return take_hex(r, out);
	found = *r->at ? strchr(from, *r->at) : NULL;
	if (!found)
		return false;
	*out = (uint32_t)to[found - from];
	r->at++;
	return true;
}

/*
 * Takes a byte or an escape of a string. Of characters that are not ASCII, the bytes come one by one:
 * the text is known to be UTF-8, and nobody needs them decoded.
 */
static bool take_character(struct reader *r, uint32_t *out)
{
	if (r->at == r->end || *r->at < 0x20)
		return false;
	if (take(r, '\\'))
		return take_escape(r, out);
	*out = *r->at++;
	return true;
}

static bool take_string(struct reader *r)
{
	uint32_t ignored;

	if (!take(r, '"'))
		return false;
	while (!take(r, '"'))
		if (!take_character(r, &ignored))
			return false;
	return true;
}

/* ---- numbers and words ---- */

static bool take_digits(struct reader *r)
{
	const uint8_t *start = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > start;
}

static bool take_number(struct reader *r)
{
	(void)take(r, '-');
	if (!take(r, '0') && !take_digits(r))
		return false;
	if (take(r, '.') && !take_digits(r))
		return false;
	if (!take(r, 'e') && !take(r, 'E'))
		return true;
	if (!take(r, '+'))
		(void)take(r, '-');
	return take_digits(r);
}

static bool take_word(struct reader *r)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t size = strlen(words[i]);

		if ((size_t)(r->end - r->at) < size || memcmp(r->at, words[i], size) != 0)
			continue;
		r->at += size;
		return true;
	}
	return false;
}

/* ---- values ---- */

static bool take_value(struct reader *r, unsigned depth);

/* Takes a key with its colon. */
static bool take_key(struct reader *r)
{
	skip_blanks(r);
	if (!take_string(r))
		return false;
	skip_blanks(r);
	return take(r, ':');
}

/* What is between the brackets, and the closing one. */
static bool take_items(struct reader *r, bool has_keys, unsigned depth)
{
	const char end = has_keys ? '}' : ']';

	if (depth > Q2_JSON_DEPTH)
		return false;
	skip_blanks(r);
	if (take(r, end))
		return true;
	do {
		if ((has_keys && !take_key(r)) || !take_value(r, depth))
			return false;
		skip_blanks(r);
	} while (take(r, ','));
	return take(r, end);
}

static bool take_value(struct reader *r, unsigned depth)
{
	skip_blanks(r);
	if (take(r, '{'))
		return take_items(r, true, depth + 1);
	if (take(r, '['))
		return take_items(r, false, depth + 1);
	if (r->at < r->end && *r->at == '"')
		return take_string(r);
	return take_word(r) || take_number(r);
}

bool q2_json_check(struct qcow2_bytes text, struct qcow2_bytes *value)
{
	struct reader r;
	const uint8_t *start;

	*value = (struct qcow2_bytes){NULL, 0};
	if (text.size == 0 || !q2_utf8_valid(text))
		return false;
	r = (struct reader){text.data, text.data + text.size};
	skip_blanks(&r);
	start = r.at;
	if (!take_value(&r, 0))
		return false;
	*value = (struct qcow2_bytes){start, (size_t)(r.at - start)};
	skip_blanks(&r);
	return r.at == r.end;
}

enum q2_json_kind q2_json_kind(struct qcow2_bytes value)
{
	if (value.size == 0)
		return Q2_JSON_NOTHING;
	switch (value.data[0]) {
	case '{':
		return Q2_JSON_OBJECT;
	case '[':
		return Q2_JSON_ARRAY;
	case '"':
		return Q2_JSON_STRING;
	case 't':
	case 'f':
	case 'n':
		return Q2_JSON_WORD;
	default:
		return Q2_JSON_NUMBER;
	}
}

/* ---- items ---- */

struct q2_json_items q2_json_items(struct qcow2_bytes value)
{
	enum q2_json_kind kind = q2_json_kind(value);

	if (kind != Q2_JSON_OBJECT && kind != Q2_JSON_ARRAY)
		return (struct q2_json_items){NULL, NULL, false};
	return (struct q2_json_items){value.data + 1, value.data + value.size,
				      kind == Q2_JSON_OBJECT};
}

bool q2_json_next(struct q2_json_items *items, struct qcow2_bytes *key, struct qcow2_bytes *value)
{
	struct reader r = {items->at, items->end};
	const uint8_t *start;

	*key = *value = (struct qcow2_bytes){NULL, 0};
	if (r.at == r.end)
		return false;
	skip_blanks(&r);
	(void)take(&r, ',');
	skip_blanks(&r);
	start = r.at;
	items->at = items->end;
	if (items->has_keys) {
		if (!take_string(&r))
			return false;
		*key = (struct qcow2_bytes){start, (size_t)(r.at - start)};
		skip_blanks(&r);
		(void)take(&r, ':');
		skip_blanks(&r);
		start = r.at;
	}
	/* The closing bracket is no value. */
	if (!take_value(&r, 0))
		return false;
	*value = (struct qcow2_bytes){start, (size_t)(r.at - start)};
	items->at = r.at;
	return true;
}

size_t q2_json_member(struct qcow2_bytes object, const char *name, struct qcow2_bytes *value)
{
	struct q2_json_items items = q2_json_items(object);
	struct qcow2_bytes key, member;
	size_t found = 0;

	*value = (struct qcow2_bytes){NULL, 0};
	while (items.has_keys && q2_json_next(&items, &key, &member)) {
		if (!q2_json_is(key, name))
			continue;
		found++;
		*value = member;
	}
	if (found != 1)
		*value = (struct qcow2_bytes){NULL, 0};
	return found;
}

/* ---- what values say ---- */

bool q2_json_is(struct qcow2_bytes value, const char *text)
{
	struct reader r;
	uint32_t character;

	if (q2_json_kind(value) != Q2_JSON_STRING)
		return false;
	r = (struct reader){value.data + 1, value.data + value.size};
	for (; *text; text++)
		if (take(&r, '"') || !take_character(&r, &character) || character != (uint8_t)*text)
			return false;
	return take(&r, '"');
}

bool q2_json_text(struct qcow2_bytes value, char *buffer, size_t size)
{
	struct reader r;
	uint32_t character;
	size_t at = 0;

	if (q2_json_kind(value) != Q2_JSON_STRING)
		return false;
	r = (struct reader){value.data + 1, value.data + value.size};
	while (!take(&r, '"')) {
		if (!take_character(&r, &character) || character == 0 || character > 0x7f ||
		    at + 1 >= size)
			return false;
		buffer[at++] = (char)character;
	}
	if (at >= size)
		return false;
	buffer[at] = '\0';
	return true;
}

static bool read_digits(const uint8_t *at, size_t size, uint64_t *number)
{
	*number = 0;
	if (size == 0 || (size > 1 && at[0] == '0'))
		return false;
	for (const uint8_t *end = at + size; at < end; at++)
		if (*at < '0' || *at > '9' || q2_mul_u64(*number, 10, number) ||
		    q2_add_u64(*number, *at - (uint64_t)'0', number))
			return false;
	return true;
}

bool q2_json_number(struct qcow2_bytes value, uint64_t *number)
{
	return read_digits(value.data, value.size, number);
}

bool q2_json_decimal(struct qcow2_bytes value, uint64_t *number)
{
	char digits[DECIMAL_BYTES];

	return q2_json_text(value, digits, sizeof(digits)) &&
	       read_digits((const uint8_t *)digits, strlen(digits), number);
}
