/* SPDX-License-Identifier: MIT */
/*
 * Compiles selectors. Splits a path into segments, reads numbers and ranges, and completes the
 * short forms that people write (bitmaps/b0/table/3, l2/5/17) to the full paths of the tree.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/number.h"
#include "walk/select.h"

static int bad(struct qcow2_error *err, const char *text, const char *why)
{
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "selector '%s': %s", text, why);
}

/* Reads N, A..B, A.. or ..B as a range of indexes. Every segment is also a pattern for names. */
static void read_range(struct q2_segment *segment)
{
	const char *text = segment->pattern;
	size_t size = strlen(text);
	const char *dots = strstr(text, "..");
	uint64_t first = 0, last = UINT64_MAX;

	if (!dots) {
		segment->numeric = q2_index_parse(text, size, &segment->first);
		segment->last = segment->first;
		return;
	}
	if (size == 2)
		return;
	if (dots != text && !q2_index_parse(text, (size_t)(dots - text), &first))
		return;
	if (dots[2] != '\0' && !q2_index_parse(dots + 2, strlen(dots + 2), &last))
		return;
	segment->numeric = true;
	segment->first = first;
	segment->last = last;
}

/* Whether a pattern has a star that no backslash takes as it is. */
static bool has_star(const char *pattern)
{
	for (; *pattern; pattern++) {
		if (*pattern == '*')
			return true;
		if (*pattern == '\\' && pattern[1] != '\0')
			pattern++;
	}
	return false;
}

static int add_segment(struct q2_selector *selector, const char *text, size_t size,
		       struct qcow2_error *err)
{
	struct q2_segment *segment;

	if (selector->count == Q2_SEGMENTS_MAX)
		return bad(err, selector->text, "too many segments");
	segment = &selector->segments[selector->count];
	memset(segment, 0, sizeof(*segment));
	if (size > 0 && text[0] == '=') {
		segment->name_only = true;
		text++;
		size--;
	}
	if (size == 0)
		return bad(err, selector->text, "a segment is empty");
	segment->pattern = q2_alloc(size + 1);
	if (!segment->pattern)
		return q2_fail_memory(err);
	memcpy(segment->pattern, text, size);
	selector->count++;
	segment->deep = !segment->name_only && strcmp(segment->pattern, "**") == 0;
	segment->any = !segment->name_only && strcmp(segment->pattern, "*") == 0;
	if (!segment->name_only)
		read_range(segment);
	segment->literal = !has_star(segment->pattern) &&
			   (!segment->numeric || !strstr(segment->pattern, ".."));
	if (segment->numeric && segment->first > segment->last)
		return bad(err, selector->text, "a range ends before it begins");
	return 0;
}

static int add_word(struct q2_selector *selector, const char *word, struct qcow2_error *err)
{
	return add_segment(selector, word, strlen(word), err);
}

/* The bytes of the first segment of text: up to the next slash without a backslash before it. */
static size_t segment_size(const char *text)
{
	size_t size = 0;

	while (text[size] != '\0' && text[size] != '/') {
		if (text[size] == '\\' && text[size + 1] != '\0')
			size++;
		size++;
	}
	return size;
}

static bool is_word(const char *text, size_t size, const char *word)
{
	if (size != strlen(word))
		return false;
	for (size_t i = 0; i < size; i++)
		if (!q2_same_in_key(text[i], word[i]))
			return false;
	return true;
}

/*
 * Whether the segment before `position` names one table of a list, whose entries are a list below.
 */
static bool is_list_element(const struct q2_selector *selector, size_t position)
{
	const struct q2_segment *s = selector->segments;

	if (position == 2)
		return strcmp(s[0].pattern, "l2") == 0 || strcmp(s[0].pattern, "refcounts") == 0;
	return position == 4 && strcmp(s[0].pattern, "snapshots") == 0 &&
	       strcmp(s[2].pattern, "l2") == 0;
}

/*
 * Adds segment `position` of what the user wrote, and the steps of the tree that the short form
 * leaves out: bitmaps are below the data of their extension, and the entries of an L2 table or a
 * refcount block are in a list "entries".
 */
static int add_user_segment(struct q2_selector *selector, size_t position, const char *text,
			    size_t size, struct qcow2_error *err)
{
	const char *fourth = selector->count == 5 ? selector->segments[3].pattern : "";
	bool below_bitmap = is_word(fourth, strlen(fourth), "bitmap_directory");

	if (position == 0 && is_word(text, size, "bitmaps")) {
		selector->bitmaps_form = true;
		if (add_word(selector, "extensions", err) || add_word(selector, "bitmaps", err) ||
		    add_word(selector, "data", err))
			return -1;
		return add_word(selector, "bitmap_directory", err);
	}
	if (below_bitmap && is_word(text, size, "table"))
		return add_word(selector, "bitmap_table", err);
	if (is_list_element(selector, position) && !is_word(text, size, "entries") &&
	    !is_word(text, size, "**") && !is_word(text, size, "same-as") &&
	    add_word(selector, "entries", err))
		return -1;
	return add_segment(selector, text, size, err);
}

static int compile(struct q2_selector *selector, const char *text, struct qcow2_error *err)
{
	const char *rest = text;

	selector->text = q2_alloc(strlen(text) + 1);
	if (!selector->text)
		return q2_fail_memory(err);
	memcpy(selector->text, text, strlen(text));
	if (strcmp(text, "all") == 0)
		return add_word(selector, "**", err);
	if (*rest == '/')
		rest++;
	for (size_t position = 0;; position++) {
		size_t size = segment_size(rest);

		if (position > 0 && size == 0 && rest[size] == '\0')
			return 0; /* a slash may end a path */
		if (selector->count > 0 && selector->segments[selector->count - 1].deep)
			return bad(err, text, "nothing can follow '**'");
		if (add_user_segment(selector, position, rest, size, err))
			return -1;
		if (rest[size] == '\0')
			return 0;
		rest += size + 1;
	}
}

int qcow2_selection_new(const char *const *selectors, size_t count, struct qcow2_selection **out,
			struct qcow2_error *err)
{
	struct qcow2_selection *selection;

	if (count > Q2_SELECTORS_MAX)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "more than %d selectors",
			       Q2_SELECTORS_MAX);
	selection = q2_alloc(sizeof(*selection));
	if (!selection)
		return q2_fail_memory(err);
	selection->everything = count == 0;
	selection->only = SIZE_MAX;
	selection->selectors = q2_alloc_array(count, sizeof(*selection->selectors));
	if (!selection->selectors) {
		qcow2_selection_free(selection);
		return q2_fail_memory(err);
	}
	selection->count = count;
	for (size_t i = 0; i < count; i++) {
		if (compile(&selection->selectors[i], selectors[i], err)) {
			qcow2_selection_free(selection);
			return -1;
		}
	}
	q2_selection_start(selection);
	*out = selection;
	return 0;
}

void qcow2_selection_free(struct qcow2_selection *selection)
{
	if (!selection)
		return;
	for (size_t i = 0; i < selection->count; i++) {
		struct q2_selector *selector = &selection->selectors[i];

		for (size_t j = 0; j < selector->count; j++)
			q2_free(selector->segments[j].pattern);
		q2_free(selector->text);
	}
	q2_free(selection->selectors);
	q2_free(selection);
}
