/* SPDX-License-Identifier: MIT */
/* Tells how the values of elements differ, and which elements only one image has. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "diff/internal.h"

static struct q2_diff_record *record_at(const struct q2_diff_list_of *list, size_t index)
{
	return q2_vector_at(&list->records, index);
}

/* Makes the value that was recorded. */
static struct qcow2_value value_of(const struct q2_diff *d, const struct q2_diff_half *half,
				   const struct q2_diff_record *record)
{
	const char *path = q2_diff_path(d, record), *slash = strrchr(path, '/');
	const struct q2_diff_path *described = q2_vector_at(&d->paths, record->path);
	struct qcow2_value value = {
		.size = sizeof(value),
		.name = slash ? slash + 1 : path,
		.kind = (enum qcow2_value_kind)record->kind,
		.style = (enum qcow2_style)record->style,
		.names = described->names,
		.offset_bytes = record->offset_bytes,
	};

	if (value.kind == QCOW2_VALUE_TEXT || value.kind == QCOW2_VALUE_BYTES) {
		value.bytes = q2_diff_bytes(half, record->bytes);
		value.raw = q2_diff_bytes(
			half, (struct q2_diff_text){record->bytes.at, record->raw_bytes});
	} else {
		value.number = record->number;
		value.raw = (struct qcow2_bytes){record->raw, record->raw_size};
	}
	return value;
}

static bool same_bytes(struct qcow2_bytes a, struct qcow2_bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Whether values are the same. Of one that has no bytes in its file, the value alone counts. */
static bool same(const struct qcow2_value *a, const struct qcow2_value *b)
{
	return a->kind == b->kind && a->number == b->number && same_bytes(a->bytes, b->bytes) &&
	       (a->raw.size == 0 || b->raw.size == 0 || same_bytes(a->raw, b->raw));
}

/* An element of which one or both images have something. */
struct both {
	enum q2_diff_list list;
	const struct q2_diff_element *elements[2]; /* NULL: not there */
	char path[Q2_DIFF_PATH_MAX];
};

static void tell_field(struct q2_diff *d, const struct both *both, const char *name,
		       const struct qcow2_value *const values[2])
{
	char path[2 * Q2_DIFF_PATH_MAX];
	const struct qcow2_diff_field field = {.size = sizeof(field),
					       .path = path,
					       .name = name,
					       .values = {values[0], values[1]}};

	if (d->failed)
		return;
	/* What was left out of a list is told as one value, which is its own element. */
	if (strcmp(both->path, name) == 0)
		snprintf(path, sizeof(path), "%s", name);
	else
		snprintf(path, sizeof(path), "%s/%s", both->path, name);
	if (d->visitor->field)
		q2_diff_answer(d, d->visitor->field(d->opaque, &field));
}

/* Tells records of one side that the other one does not have. */
static void tell_alone(struct q2_diff *d, const struct both *both, enum qcow2_diff_side side,
		       size_t first, size_t last, bool count)
{
	const struct q2_diff_half *half = &d->halves[side];

	for (size_t i = first; i < last && !d->failed; i++) {
		const struct q2_diff_record *record = record_at(&half->lists[both->list], i);
		struct qcow2_value value = value_of(d, half, record);
		const struct qcow2_value *const values[2] = {side == QCOW2_DIFF_A ? &value : NULL,
							     side == QCOW2_DIFF_B ? &value : NULL};

		tell_field(d, both, q2_diff_path(d, record), values);
		d->result->differences += count;
	}
}

static void compare(struct q2_diff *d, const struct both *both,
		    const struct q2_diff_record *const records[2])
{
	const struct qcow2_value a = value_of(d, &d->halves[0], records[0]);
	const struct qcow2_value b = value_of(d, &d->halves[1], records[1]);

	if (same(&a, &b))
		return;
	d->result->differences++;
	tell_field(d, both, q2_diff_path(d, records[0]),
		   (const struct qcow2_value *const[]){&a, &b});
}

/* Finds a record of that path from index on. Returns last if there is none. */
static size_t find(const struct q2_diff_list_of *list, uint32_t path, size_t index, size_t last)
{
	while (index < last && record_at(list, index)->path != path)
		index++;
	return index;
}

/* Compares what both images have. The walk tells values in one order, so few are looked for. */
static void tell_both(struct q2_diff *d, const struct both *both)
{
	const struct q2_diff_list_of *a = &d->halves[0].lists[both->list];
	const struct q2_diff_list_of *b = &d->halves[1].lists[both->list];
	size_t next = both->elements[1]->first, last = next + both->elements[1]->count;
	size_t first = both->elements[0]->first;

	for (size_t i = first; i < first + both->elements[0]->count && !d->failed; i++) {
		const struct q2_diff_record *record = record_at(a, i);
		size_t found = find(b, record->path, next, last);

		if (found == last) {
			tell_alone(d, both, QCOW2_DIFF_A, i, i + 1, true);
			continue;
		}
		tell_alone(d, both, QCOW2_DIFF_B, next, found, true);
		compare(d, both,
			(const struct q2_diff_record *const[]){record, record_at(b, found)});
		next = found + 1;
	}
	tell_alone(d, both, QCOW2_DIFF_B, next, last, true);
}

/* Tells an element that only one image has. */
static void tell_element(struct q2_diff *d, const struct both *both)
{
	enum qcow2_diff_side side = both->elements[0] ? QCOW2_DIFF_A : QCOW2_DIFF_B;
	const struct q2_diff_element *element = both->elements[side];
	const struct qcow2_diff_element told = {
		.size = sizeof(told), .path = both->path, .side = side};

	if (d->failed)
		return;
	d->result->differences++;
	if (d->visitor->begin_element)
		q2_diff_answer(d, d->visitor->begin_element(d->opaque, &told));
	tell_alone(d, both, side, element->first, element->first + element->count, false);
	if (!d->failed && d->visitor->end_element)
		q2_diff_answer(d, d->visitor->end_element(d->opaque, &told));
}

/*
 * Tells that elements of both images have changed places. rank is that of the element among those
 * that both have: what was added or removed in front of it does not count.
 */
static void tell_order(struct q2_diff *d, const struct both *both, const size_t ranks[2])
{
	struct qcow2_value values[2];

	if (ranks[0] == ranks[1] || both->elements[0]->index == both->elements[1]->index ||
	    d->failed)
		return;
	for (size_t side = 0; side < 2; side++)
		values[side] = (struct qcow2_value){.size = sizeof(values[side]),
						    .name = "index",
						    .kind = QCOW2_VALUE_NUMBER,
						    .style = QCOW2_STYLE_DECIMAL,
						    .number = both->elements[side]->index,
						    .offset_bytes = QCOW2_NO_OFFSET};
	d->result->differences++;
	tell_field(d, both, "index", (const struct qcow2_value *const[]){&values[0], &values[1]});
}

/* Goes on in one list to the next element that the other one has, too, and tells those before. */
static void tell_until_matched(struct q2_diff *d, struct both *both, enum qcow2_diff_side side,
			       size_t *index)
{
	struct q2_diff_list_of *list = &d->halves[side].lists[both->list];
	bool full = list->full || d->halves[!side].lists[both->list].full;

	for (; *index < list->elements.count && !d->failed; (*index)++) {
		const struct q2_diff_element *element = q2_vector_at(&list->elements, *index);

		if (element->match != Q2_DIFF_ALONE)
			return;
		if (full)
			continue;
		both->elements[side] = element;
		both->elements[!side] = NULL;
		q2_diff_element_path(d, both->list, side, element, both->path);
		tell_element(d, both);
	}
}

/* Tells of an element of A and its match; ranks are those of both. */
static void tell_pair(struct q2_diff *d, struct both *both, size_t index, const size_t ranks[2])
{
	both->elements[0] = q2_diff_element(d, both->list, QCOW2_DIFF_A, index);
	both->elements[1] = q2_diff_element(d, both->list, QCOW2_DIFF_B, both->elements[0]->match);
	q2_diff_element_path(d, both->list, QCOW2_DIFF_A, both->elements[0], both->path);
	tell_order(d, both, ranks);
	tell_both(d, both);
	if (both->list == Q2_DIFF_BITMAPS)
		q2_diff_bitmap(d, both->elements, both->path);
	if (both->list == Q2_DIFF_SNAPSHOTS)
		q2_diff_snapshot(d, both->elements, both->path);
}

/*
 * Goes through both lists at once. At a pair, the lists are at their elements of the same rank;
 * those of B that belong to an earlier or later element of A have changed places.
 */
void q2_diff_tell_list(struct q2_diff *d, enum q2_diff_list list)
{
	struct both both = {.list = list};
	const struct q2_vector *a = &d->halves[0].lists[list].elements;
	const struct q2_vector *b = &d->halves[1].lists[list].elements;
	size_t at[2] = {0, 0}, ranks[2] = {0, 0};

	while (!d->failed) {
		const struct q2_diff_element *element;

		tell_until_matched(d, &both, QCOW2_DIFF_A, &at[0]);
		tell_until_matched(d, &both, QCOW2_DIFF_B, &at[1]);
		if (d->failed || at[0] == a->count || at[1] == b->count)
			break;
		element = q2_vector_at(a, at[0]);
		ranks[1] = element->match == at[1] ? ranks[0] : SIZE_MAX;
		tell_pair(d, &both, at[0], ranks);
		at[0]++;
		at[1]++;
		ranks[0]++;
	}
	if (d->halves[0].lists[list].full || d->halves[1].lists[list].full)
		q2_diff_tell_gap(d,
				 list == Q2_DIFF_EXTENSIONS  ? "extensions"
				 : list == Q2_DIFF_SNAPSHOTS ? "snapshots"
							     : "bitmaps",
				 true, "there are more than can be compared");
}

static const struct q2_diff_element *find_fixed(struct q2_diff *d, enum qcow2_diff_side side,
						const char *label)
{
	const struct q2_vector *elements = &d->halves[side].lists[Q2_DIFF_FIXED].elements;

	for (size_t i = 0; i < elements->count; i++) {
		const struct q2_diff_element *element = q2_vector_at(elements, i);
		struct qcow2_bytes bytes = q2_diff_bytes(&d->halves[side], element->label);

		if (bytes.size == strlen(label) && memcmp(bytes.data, label, bytes.size) == 0)
			return element;
	}
	return NULL;
}

void q2_diff_tell_fixed(struct q2_diff *d, const char *label)
{
	struct both both = {.list = Q2_DIFF_FIXED};

	if (d->failed)
		return;
	for (enum qcow2_diff_side side = QCOW2_DIFF_A; side <= QCOW2_DIFF_B; side++)
		both.elements[side] = find_fixed(d, side, label);
	snprintf(both.path, sizeof(both.path), "%s", label);
	if (both.elements[0] && both.elements[1])
		tell_both(d, &both);
	else if (both.elements[0] || both.elements[1])
		tell_element(d, &both);
}
