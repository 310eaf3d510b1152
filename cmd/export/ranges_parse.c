/* SPDX-License-Identifier: MIT */
/* Reads lists of ranges. See ranges.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_read.h"
#include "export/ranges.h"

#include <qcow2/number.h>

/* A list that is read. */
struct list {
	struct export_ranges *ranges;
	size_t room;
	size_t number; /* of the line or the object, from 1 */
	struct qcow2_error *err;
};

static int fail(struct list *list, enum qcow2_error_code code, const char *text)
{
	*list->err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(list->err->text, sizeof(list->err->text), "%s", text);
	return -1;
}

static int fail_at(struct list *list, const char *unit, const char *text)
{
	struct qcow2_error why = {.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};

	snprintf(why.text, sizeof(why.text), "%s %zu: %.200s", unit, list->number, text);
	*list->err = why;
	return -1;
}

/* Adds a range as far as the disk goes. */
static int add(struct list *list, uint64_t start, uint64_t length)
{
	struct export_ranges *ranges = list->ranges;
	const uint64_t end = ranges->end_bytes;

	if (start >= end || length == 0)
		return 0;
	if (ranges->count == list->room) {
		const size_t room = list->room ? 2 * list->room : 64;
		struct export_range *grown = realloc(ranges->list, room * sizeof(*grown));

		if (!grown)
			return fail(list, QCOW2_ERROR_MEMORY, "out of memory");
		ranges->list = grown;
		list->room = room;
	}
	ranges->list[ranges->count++] =
		(struct export_range){start, length < end - start ? length : end - start};
	return 0;
}

/* ---- lines ---- */

/* Takes a word of a line. False: there is none, or it is too long. */
static bool take_word(struct qcow2_bytes *line, char *word, size_t size)
{
	size_t used = 0;

	while (line->size > 0 && (*line->data == ' ' || *line->data == '\t'))
		line->data++, line->size--;
	while (line->size > 0 && *line->data != ' ' && *line->data != '\t' && *line->data != '\r') {
		if (used + 1 == size)
			return false;
		word[used++] = (char)*line->data;
		line->data++, line->size--;
	}
	word[used] = '\0';
	return used > 0;
}

static int take_line(struct list *list, struct qcow2_bytes line)
{
	char start_word[64], length_word[64], kind[64] = "";
	uint64_t start, length;

	if (!take_word(&line, start_word, sizeof(start_word)) || start_word[0] == '#')
		return 0;
	if (!take_word(&line, length_word, sizeof(length_word)))
		return fail_at(list, "line", "a start and a length are needed");
	if (qcow2_number_parse(start_word, UINT64_MAX, &start, list->err) ||
	    qcow2_number_parse(length_word, UINT64_MAX, &length, list->err))
		return fail_at(list, "line", list->err->text);
	(void)take_word(&line, kind, sizeof(kind));
	if (strcmp(kind, "clean") == 0)
		return 0;
	if (kind[0] != '\0' && strcmp(kind, "dirty") != 0)
		return fail_at(list, "line",
			       "behind the length stands 'dirty', 'clean' or nothing");
	return add(list, start, length);
}

static int parse_lines(struct list *list, struct qcow2_bytes document)
{
	const uint8_t *at = document.data, *end = at + document.size;
	int failed = 0;

	for (list->number = 1; at < end && !failed; list->number++) {
		const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));

		/* Half a number is a number as well. */
		if (!line_end)
			return fail_at(list, "line", "the list was cut off: no newline ends it");
		failed = take_line(list, (struct qcow2_bytes){at, (size_t)(line_end - at)});
		at = line_end + 1;
	}
	return failed;
}

/* ---- JSON ---- */

static int take_object(struct list *list, struct json_reader *reader)
{
	uint64_t start = 0, length = 0;
	bool has_start = false, has_length = false, dirty = true;

	json_need(reader, '{');
	while (!reader->bad && !json_take(reader, '}')) {
		const struct qcow2_bytes key = json_take_string(reader);

		json_need(reader, ':');
		if (json_is(key, "start")) {
			start = json_take_number(reader);
			has_start = true;
		} else if (json_is(key, "length")) {
			length = json_take_number(reader);
			has_length = true;
		} else if (json_is(key, "dirty")) {
			dirty = json_take_bool(reader);
		} else {
			json_skip_value(reader);
		}
		(void)json_take(reader, ',');
	}
	if (reader->bad || !has_start || !has_length)
		return fail_at(list, "range",
			       "not an object with \"start\" and \"length\" in bytes");
	return dirty ? add(list, start, length) : 0;
}

/* An array of objects, or objects one after the other. */
static int parse_json(struct list *list, struct qcow2_bytes document)
{
	struct json_reader reader = {document.data, document.data + document.size, false};
	const bool is_array = json_take(&reader, '[');
	int failed = 0;

	for (list->number = 1; !failed; list->number++) {
		json_skip_blanks(&reader);
		if (is_array ? json_take(&reader, ']') : reader.at == reader.end)
			break;
		failed = take_object(list, &reader);
		(void)json_take(&reader, ',');
	}
	json_skip_blanks(&reader);
	if (!failed && reader.at != reader.end)
		return fail_at(list, "range", "something follows the end of the list");
	return failed;
}

/* ---- both ---- */

static int by_start(const void *a, const void *b)
{
	const struct export_range *one = a, *other = b;

	return (one->start_bytes > other->start_bytes) - (one->start_bytes < other->start_bytes);
}

size_t export_ranges_unite(struct export_range *list, size_t count)
{
	size_t kept = 0;

	if (count == 0)
		return 0;
	qsort(list, count, sizeof(*list), by_start);
	for (size_t i = 1; i < count; i++) {
		struct export_range *last = &list[kept];
		const uint64_t last_end = last->start_bytes + last->length_bytes;
		const uint64_t next_end = list[i].start_bytes + list[i].length_bytes;

		if (list[i].start_bytes > last_end)
			list[++kept] = list[i];
		else if (next_end > last_end)
			last->length_bytes = next_end - last->start_bytes;
	}
	return kept + 1;
}

int export_ranges_parse(struct export_ranges *ranges, struct qcow2_bytes document,
			uint64_t size_bytes, struct qcow2_error *err)
{
	struct list list = {.ranges = ranges, .err = err};
	struct json_reader reader = {document.data, document.data + document.size, false};
	int failed;

	*ranges = (struct export_ranges){.end_bytes = size_bytes};
	json_skip_blanks(&reader);
	/* What makes a list prints nothing, too, when it fails. */
	if (reader.at == reader.end)
		return fail(&list, QCOW2_ERROR_ARGUMENT,
			    "the list is empty: one without ranges is [], as 'qcow2 bitmap extents "
			    "-j --dirty' prints it");
	failed = reader.at < reader.end && (*reader.at == '[' || *reader.at == '{')
			 ? parse_json(&list, document)
			 : parse_lines(&list, document);
	if (failed)
		export_ranges_close(ranges);
	else
		ranges->count = export_ranges_unite(ranges->list, ranges->count);
	return failed;
}
