/* SPDX-License-Identifier: MIT */
/*
 * See json_name.h. The name comes from an image: it is at most JSON_NAME_MAX bytes, objects nest at
 * most DEPTH_MAX deep, and nothing is allocated.
 */
#include "common/json_name.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4

/* A name under way. */
struct reader {
	const char *at, *end;
	const char *why; /* it is not understood; NULL: it is, so far */
	char key[JSON_NAME_MAX + 1];
	size_t key_size;
	char value[JSON_NAME_MAX + 1]; /* of a string */
	struct json_name *out;
	char driver[16];      /* "driver" */
	char file_driver[16]; /* "file.driver" */
	bool has_path, has_file_path, has_driver, has_file_driver;
};

static const char not_json[] = "it is not JSON";
static const char too_much[] = "it says more than the path of a file";

/* Returns whether all is well, so that a caller may write "return fail(…)". */
static bool fail(struct reader *r, const char *why)
{
	if (!r->why)
		r->why = why;
	return false;
}

static void skip_blanks(struct reader *r)
{
	while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at != '\0')
		r->at++;
}

/* Whether the next sign is `sign`, which is taken. */
static bool take(struct reader *r, char sign)
{
	skip_blanks(r);
	if (r->at == r->end || *r->at != sign)
		return false;
	r->at++;
	return true;
}

static bool hex_digits(struct reader *r, uint32_t *out)
{
	*out = 0;
	for (unsigned i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdefABCDEF";
		const char *found = r->at < r->end && *r->at ? strchr(digits, *r->at) : NULL;
		unsigned digit = found ? (unsigned)(found - digits) : 0;

		if (!found)
			return fail(r, not_json);
		*out = *out << 4 | (digit < 16 ? digit : digit - 6);
		r->at++;
	}
	return true;
}

/* Writes a character of the plane that one \uXXXX reaches; pairs are for names nobody has. */
static bool put_character(struct reader *r, char *out, size_t *size)
{
	uint32_t c;

	if (!hex_digits(r, &c))
		return false;
	if (c == 0 || (c >= 0xd800 && c <= 0xdfff))
		return fail(r, "it holds a character that no name has");
	if (c < 0x80) {
		out[(*size)++] = (char)c;
	} else if (c < 0x800) {
		out[(*size)++] = (char)(0xc0 | c >> 6);
		out[(*size)++] = (char)(0x80 | (c & 0x3f));
	} else {
		out[(*size)++] = (char)(0xe0 | c >> 12);
		out[(*size)++] = (char)(0x80 | (c >> 6 & 0x3f));
		out[(*size)++] = (char)(0x80 | (c & 0x3f));
	}
	return true;
}

static bool put_escaped(struct reader *r, char *out, size_t *size)
{
	static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
	const char *found;

	if (r->at == r->end)
		return fail(r, not_json);
	if (*r->at == 'u') {
		r->at++;
		return put_character(r, out, size);
	}
	found = *r->at ? strchr(from, *r->at) : NULL;
	if (!found)
		return fail(r, not_json);
	out[(*size)++] = to[found - from];
	r->at++;
	return true;
}

/* A string, decoded: never longer than it is written, so that a buffer as long as a name is enough. */
static bool read_string(struct reader *r, char *out, size_t *size)
{
	char quote;

	*size = 0;
	skip_blanks(r);
	if (r->at == r->end || (*r->at != '"' && *r->at != '\''))
		return fail(r, not_json);
	quote = *r->at++;
	while (r->at < r->end && *r->at != quote) {
		char c = *r->at++;

		if ((unsigned char)c < 0x20)
			return fail(r, not_json);
		if (c != '\\')
			out[(*size)++] = c;
		else if (!put_escaped(r, out, size))
			return false;
	}
	if (r->at == r->end)
		return fail(r, not_json);
	r->at++;
	out[*size] = '\0';
	return true;
}

static bool copy_once(struct reader *r, bool *seen, char *out, size_t size)
{
	if (*seen)
		return fail(r, "it says twice which file it is");
	*seen = true;
	if (strlen(r->value) >= size)
		return fail(r, too_much);
	memcpy(out, r->value, strlen(r->value) + 1);
	return true;
}

/* Options of a driver that leave open which bytes are read. */
static bool is_harmless(const char *key)
{
	static const char *const harmless[] = {
		"read-only",
		"auto-read-only",
		"node-name",
		"discard",
		"detect-zeroes",
		"cache.direct",
		"cache.no-flush",
		"force-share",
		"aio",
		"locking",
		"pr-manager",
		"lazy-refcounts",
		"x-check-cache-dropped",
	};

	if (strncmp(key, "file.", 5) == 0)
		key += 5;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strcmp(key, harmless[i]) == 0)
			return true;
	return false;
}

/* Takes a member whose value is a string (in r->value) or not. */
static bool take_member(struct reader *r, bool is_string)
{
	struct json_name *out = r->out;

	if (is_string && strcmp(r->key, "driver") == 0)
		return copy_once(r, &r->has_driver, r->driver, sizeof(r->driver));
	if (is_string && strcmp(r->key, "file.driver") == 0)
		return copy_once(r, &r->has_file_driver, r->file_driver, sizeof(r->file_driver));
	if (is_string && strcmp(r->key, "filename") == 0)
		return copy_once(r, &r->has_path, out->path, sizeof(out->path));
	if (is_string && strcmp(r->key, "file.filename") == 0)
		return copy_once(r, &r->has_file_path, out->path, sizeof(out->path));
	if (strcmp(r->key, "backing") == 0 && strcmp(r->value, is_string ? "" : "null") == 0) {
		out->no_backing = true;
		return true;
	}
	return is_harmless(r->key) || fail(r, too_much);
}

/* true, false, null or a number: kept as it is written. */
static bool read_word(struct reader *r)
{
	size_t size = 0;

	while (r->at < r->end && *r->at &&
	       strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *r->at))
		r->value[size++] = *r->at++;
	r->value[size] = '\0';
	return size > 0 || fail(r, not_json);
}

static bool read_object(struct reader *r, unsigned depth);

static bool read_value(struct reader *r, unsigned depth)
{
	size_t size;

	skip_blanks(r);
	if (r->at < r->end && *r->at == '{')
		return read_object(r, depth + 1);
	if (r->at < r->end && (*r->at == '"' || *r->at == '\''))
		return read_string(r, r->value, &size) && take_member(r, true);
	if (r->at < r->end && *r->at == '[')
		return fail(r, too_much);
	return read_word(r) && take_member(r, false);
}

/* Reads a key into r->key, behind the keys of the objects around it. */
static bool read_key(struct reader *r, size_t before)
{
	char key[JSON_NAME_MAX + 1];
	size_t size;

	if (!read_string(r, key, &size))
		return false;
	if (before + size + 2 > sizeof(r->key))
		return fail(r, too_much);
	if (before > 0)
		r->key[before++] = '.';
	memcpy(r->key + before, key, size + 1);
	r->key_size = before + size;
	return take(r, ':') || fail(r, not_json);
}

static bool read_object(struct reader *r, unsigned depth)
{
	size_t before = r->key_size;

	if (depth > DEPTH_MAX)
		return fail(r, too_much);
	if (!take(r, '{'))
		return fail(r, not_json);
	if (take(r, '}'))
		return true;
	do {
		if (!read_key(r, before) || !read_value(r, depth))
			return false;
		r->key_size = before;
		r->key[before] = '\0';
	} while (take(r, ','));
	return take(r, '}') || fail(r, not_json);
}

/* What the members mean together. */
static void judge(struct reader *r)
{
	bool plain = r->has_driver &&
		     (strcmp(r->driver, "file") == 0 || strcmp(r->driver, "host_device") == 0);

	if (r->has_file_driver && strcmp(r->file_driver, "file") != 0 &&
	    strcmp(r->file_driver, "host_device") != 0)
		(void)fail(r, "it is not a plain file");
	else if (r->has_path == r->has_file_path)
		(void)fail(r, r->has_path ? "it says twice which file it is" : "it names no file");
	else if (r->has_path != plain || (plain && r->has_file_driver))
		(void)fail(r, "it is not a plain file");
	else if (plain)
		memcpy(r->out->format, "raw", 4);
	else
		memcpy(r->out->format, r->driver, sizeof(r->driver));
}

const char *json_name_read(struct qcow2_bytes name, struct json_name *out)
{
	struct reader r = {.out = out};

	memset(out, 0, sizeof(*out));
	if (name.size > JSON_NAME_MAX || name.size < 5 || memcmp(name.data, "json:", 5) != 0)
		return not_json;
	r.at = (const char *)name.data + 5;
	r.end = (const char *)name.data + name.size;
	if (read_object(&r, 1)) {
		skip_blanks(&r);
		if (r.at != r.end)
			(void)fail(&r, not_json);
		else
			judge(&r);
	}
	return r.why;
}
