/* SPDX-License-Identifier: MIT */
/*
 * Finds which elements of both images belong together: those with the same label, and then those
 * snapshots with the same name. Of several with one label, the first belongs to the first. Also
 * finds names for them in paths.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/text.h>

#include "base/alloc.h"
#include "diff/internal.h"

/* The longest label that is shown in a path. */
#define LABEL_SHOWN 256

/* An element to be matched: what identifies it, and which it is. */
struct entry {
	uint64_t hash;
	size_t index;
};

struct qcow2_bytes q2_diff_bytes(const struct q2_diff_half *half, struct q2_diff_text text)
{
	if (text.size == 0)
		return (struct qcow2_bytes){(const uint8_t *)"", 0};
	return (struct qcow2_bytes){half->text.data + text.at, text.size};
}

struct q2_diff_element *q2_diff_element(struct q2_diff *d, enum q2_diff_list list,
					enum qcow2_diff_side side, size_t index)
{
	return q2_vector_at(&d->halves[side].lists[list].elements, index);
}

static int compare(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;

	if (one->hash != other->hash)
		return one->hash < other->hash ? -1 : 1;
	return one->index < other->index ? -1 : one->index > other->index;
}

/* Makes a sorted list of the elements that belong to none yet. NULL if memory is short. */
static struct entry *sorted(const struct q2_vector *elements, bool by_name, size_t *count)
{
	struct entry *entries = q2_alloc_array(elements->count, sizeof(*entries));

	*count = 0;
	if (!entries)
		return NULL;
	for (size_t i = 0; i < elements->count; i++) {
		const struct q2_diff_element *element = q2_vector_at(elements, i);

		if (element->match == Q2_DIFF_ALONE)
			entries[(*count)++] = (struct entry){
				by_name ? element->name_hash : element->label_hash, i};
	}
	if (*count > 0)
		qsort(entries, *count, sizeof(*entries), compare);
	return entries;
}

static void mark_ambiguous(const struct q2_vector *elements, const struct entry *entries,
			   size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct q2_diff_element *one = q2_vector_at(elements, entries[i - 1].index);
		struct q2_diff_element *other = q2_vector_at(elements, entries[i].index);

		if (entries[i - 1].hash == entries[i].hash)
			one->ambiguous = other->ambiguous = true;
	}
}

static void pair_up(struct q2_vector *const elements[2], struct entry *const entries[2],
		    const size_t counts[2])
{
	size_t a = 0, b = 0;

	while (a < counts[0] && b < counts[1]) {
		struct q2_diff_element *one = q2_vector_at(elements[0], entries[0][a].index);
		struct q2_diff_element *other = q2_vector_at(elements[1], entries[1][b].index);

		if (entries[0][a].hash == entries[1][b].hash) {
			one->match = entries[1][b++].index;
			other->match = entries[0][a++].index;
		} else if (entries[0][a].hash < entries[1][b].hash) {
			a++;
		} else {
			b++;
		}
	}
}

static void match_by(struct q2_diff *d, enum q2_diff_list list, bool by_name)
{
	struct q2_vector *const elements[2] = {&d->halves[0].lists[list].elements,
					       &d->halves[1].lists[list].elements};
	struct entry *entries[2];
	size_t counts[2];

	for (size_t side = 0; side < 2; side++)
		entries[side] = sorted(elements[side], by_name, &counts[side]);
	if (entries[0] && entries[1]) {
		for (size_t side = 0; side < 2 && !by_name; side++)
			mark_ambiguous(elements[side], entries[side], counts[side]);
		pair_up(elements, entries, counts);
	} else {
		q2_diff_fail_memory(d);
	}
	q2_free(entries[0]);
	q2_free(entries[1]);
}

void q2_diff_match(struct q2_diff *d, enum q2_diff_list list)
{
	if (!d->failed)
		match_by(d, list, false);
	if (!d->failed && list == Q2_DIFF_SNAPSHOTS)
		match_by(d, list, true);
}

/* Whether a label can stand in a path as it is, or with backslashes. */
static bool is_plain(struct qcow2_bytes label)
{
	uint32_t codepoint;
	bool valid;

	if (label.size == 0 || label.size > LABEL_SHOWN)
		return false;
	for (struct qcow2_bytes rest = label; rest.size > 0;) {
		size_t size = qcow2_text_next(rest, &codepoint, &valid);

		if (!valid || !qcow2_text_is_printable(codepoint))
			return false;
		rest.data += size;
		rest.size -= size;
	}
	return true;
}

/* Whether a segment of that text would be an index, a range, or a name with = in front. */
static bool needs_sign(struct qcow2_bytes label)
{
	if (label.data[0] == '=')
		return true;
	for (size_t i = 0; i < label.size; i++)
		if (label.data[i] == '.' && i + 1 < label.size && label.data[i + 1] == '.')
			return true;
	return label.data[0] >= '0' && label.data[0] <= '9';
}

/* Writes a label as a segment of a selector. */
static void segment(struct qcow2_bytes label, bool sign, char *out, size_t size)
{
	size_t at = 0;

	if (sign || needs_sign(label))
		out[at++] = '=';
	for (size_t i = 0; i < label.size && at + 3 < size; i++) {
		if (strchr("/*\\", label.data[i]))
			out[at++] = '\\';
		out[at++] = (char)label.data[i];
	}
	out[at] = '\0';
}

const char *q2_diff_element_path(const struct q2_diff *d, enum q2_diff_list list,
				 enum qcow2_diff_side side, const struct q2_diff_element *element,
				 char path[Q2_DIFF_PATH_MAX])
{
	static const char *const lists[Q2_DIFF_LISTS] = {"", "extensions/", "bitmaps/",
							 "snapshots/"};
	struct qcow2_bytes label = q2_diff_bytes(&d->halves[side], element->label);
	const struct q2_diff_element *other =
		element->match == Q2_DIFF_ALONE
			? NULL
			: q2_vector_at(&d->halves[!side].lists[list].elements, element->match);
	size_t at = strlen(lists[list]);

	memcpy(path, lists[list], at + 1);
	if (element->ambiguous || (other && other->ambiguous) || !is_plain(label))
		snprintf(path + at, Q2_DIFF_PATH_MAX - at, "%" PRIu64, element->index);
	else if (list == Q2_DIFF_EXTENSIONS || list == Q2_DIFF_FIXED)
		snprintf(path + at, Q2_DIFF_PATH_MAX - at, "%.*s", (int)label.size,
			 (const char *)label.data);
	else
		segment(label, list == Q2_DIFF_SNAPSHOTS, path + at, 2 * LABEL_SHOWN + 4);
	return path;
}
