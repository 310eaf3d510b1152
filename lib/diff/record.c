/* SPDX-License-Identifier: MIT */
/*
 * Records what a walk tells of an image, bulk tables aside: a flat list of values for each list of
 * elements, and the paths of values below their elements as numbers that both images share. What is
 * derived from other values is left out.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "diff/internal.h"
#include "format/extension_kind.h"

/* The deepest nesting of a walk is less. */
#define FRAMES_MAX 24
/* So many values of an element are sure to fit when it begins; only extensions may have more. */
#define ELEMENT_RECORDS 1024
#define ELEMENT_TEXT    (1U << 18)

/* A structure or list that the walk is in, and what was the case outside of it. */
struct frame {
	enum q2_diff_list list;
	size_t path_size;
	bool inside, skip, elements;
};

struct recorder {
	struct q2_diff *d;
	struct q2_diff_half *half;
	struct frame frames[FRAMES_MAX];
	size_t depth;
	enum q2_diff_list list; /* of the element at hand */
	bool inside;            /* there is one */
	bool skip;              /* what comes is left out */
	bool elements;          /* what begins is an element of the list */
	char path[256];         /* below the element */
	size_t path_size;
};

static int failed(struct recorder *r)
{
	q2_diff_fail_memory(r->d);
	return 1;
}

/* Appends bytes to the texts of the image. False if memory is short, or if there is no room. */
static bool keep(struct q2_diff_half *half, struct qcow2_bytes bytes, struct q2_diff_text *text)
{
	*text = (struct q2_diff_text){(uint32_t)half->text.count, (uint32_t)bytes.size};
	return bytes.size == 0 ||
	       q2_vector_append(&half->text, bytes.data, bytes.size) == QCOW2_ERROR_NONE;
}

/* Finds the number of a path, or gives it the next one. False if memory is short. */
static bool number_of(struct q2_diff *d, struct qcow2_bytes path, const struct qcow2_names *names,
		      uint32_t *number)
{
	const struct q2_diff_path new = {{(uint32_t)d->path_text.count, (uint32_t)path.size},
					 names};
	const uint64_t both[2] = {q2_hash(&d->hash_key, path), (uintptr_t)names};
	const uint64_t hash =
		q2_hash(&d->hash_key, (struct qcow2_bytes){(const uint8_t *)both, sizeof(both)});
	uint64_t known;

	if (q2_name_set_insert(&d->path_numbers, hash, d->paths.count, &known) != QCOW2_ERROR_NONE)
		return false;
	*number = (uint32_t)(known == Q2_NAME_SET_NEW ? d->paths.count : known);
	return known != Q2_NAME_SET_NEW ||
	       (q2_vector_push(&d->paths, &new) == QCOW2_ERROR_NONE &&
		(path.size == 0 ||
		 q2_vector_append(&d->path_text, path.data, path.size) == QCOW2_ERROR_NONE) &&
		q2_vector_push(&d->path_text, "") == QCOW2_ERROR_NONE);
}

/* Begins an element. It is left out, and the list is full, if it might not fit. */
static int begin_element(struct recorder *r, uint64_t index)
{
	struct q2_diff_list_of *list = &r->half->lists[r->list];
	const struct q2_diff_element element = {
		.index = index, .first = list->records.count, .match = Q2_DIFF_ALONE};

	r->inside = true;
	r->path_size = 0;
	if (list->records.count + ELEMENT_RECORDS > list->records.max_count ||
	    r->half->text.count + ELEMENT_TEXT > r->half->text.max_count)
		list->full = r->skip = true;
	if (r->skip)
		return 0;
	return q2_vector_push(&list->elements, &element) == QCOW2_ERROR_NONE ? 0 : failed(r);
}

static struct q2_diff_element *at_hand(const struct recorder *r)
{
	const struct q2_vector *elements = &r->half->lists[r->list].elements;

	return q2_vector_at(elements, elements->count - 1);
}

static int set_label(struct recorder *r, struct qcow2_bytes label)
{
	struct q2_diff_element *element = at_hand(r);

	element->label_hash = q2_hash(&r->d->hash_key, label);
	return keep(r->half, label, &element->label) ? 0 : failed(r);
}

/* Notes what identifies the element at hand, if this value does. */
static int take_label(struct recorder *r, const struct qcow2_value *value)
{
	struct q2_diff_element *element = at_hand(r);
	const struct q2_extension_kind *kind;
	char magic[16];
	const char *key = magic;

	if (r->path_size > 0)
		return 0;
	if (r->list == Q2_DIFF_EXTENSIONS && strcmp(value->name, "magic") == 0) {
		kind = q2_extension_kind((uint32_t)value->number);
		snprintf(magic, sizeof(magic), "0x%08x", (unsigned)value->number);
		if (kind)
			key = kind->key;
		return set_label(r, (struct qcow2_bytes){(const uint8_t *)key, strlen(key)});
	}
	if ((r->list == Q2_DIFF_SNAPSHOTS && strcmp(value->name, "id") == 0) ||
	    (r->list == Q2_DIFF_BITMAPS && strcmp(value->name, "name") == 0))
		return set_label(r, value->bytes);
	if (r->list == Q2_DIFF_SNAPSHOTS && strcmp(value->name, "name") == 0) {
		element->name_hash = q2_hash(&r->d->hash_key, value->bytes);
		return keep(r->half, value->bytes, &element->name) ? 0 : failed(r);
	}
	return 0;
}

/* Goes one step down: appends a segment to the path. A path that is too long is cut. */
static void append(struct recorder *r, const char *key, uint64_t index)
{
	size_t room = sizeof(r->path) - r->path_size;
	const char *slash = r->path_size > 0 ? "/" : "";
	int size;

	if (key)
		size = snprintf(r->path + r->path_size, room, "%s%s", slash, key);
	else
		size = snprintf(r->path + r->path_size, room, "%s%llu", slash,
				(unsigned long long)index);
	r->path_size += (size_t)size < room ? (size_t)size : room - 1;
}

/* Keeps the bytes of a text, and its raw bytes if they begin with it. */
static bool keep_bytes(struct q2_diff_half *half, const struct qcow2_value *value,
		       struct q2_diff_record *record)
{
	bool whole = value->raw.size >= value->bytes.size && value->raw.data == value->bytes.data;

	if (!keep(half, whole ? value->raw : value->bytes, &record->bytes))
		return false;
	record->bytes.size = (uint32_t)value->bytes.size;
	record->raw_bytes = whole ? (uint32_t)value->raw.size : 0;
	return true;
}

static int record(struct recorder *r, const struct qcow2_value *value)
{
	struct q2_diff_list_of *list = &r->half->lists[r->list];
	struct q2_diff_record new = {.kind = (uint8_t)value->kind,
				     .style = (uint8_t)value->style,
				     .offset_bytes = value->offset_bytes};
	size_t outside = r->path_size;
	struct qcow2_bytes path;
	bool room;

	if (list->records.count == list->records.max_count ||
	    r->half->text.count + value->bytes.size + value->raw.size > r->half->text.max_count) {
		list->full = true;
		return 0;
	}
	append(r, value->name, 0);
	path = (struct qcow2_bytes){(const uint8_t *)r->path, r->path_size};
	room = number_of(r->d, path, value->names, &new.path);
	r->path_size = outside;
	if (value->kind == QCOW2_VALUE_TEXT || value->kind == QCOW2_VALUE_BYTES) {
		room = room && keep_bytes(r->half, value, &new);
	} else {
		new.number = value->number;
		if (value->raw.size > 0 && value->raw.size <= sizeof(new.raw)) {
			new.raw_size = (uint8_t)value->raw.size;
			memcpy(new.raw, value->raw.data, new.raw_size);
		}
	}
	if (!room || q2_vector_push(&list->records, &new) != QCOW2_ERROR_NONE)
		return failed(r);
	at_hand(r)->count++;
	return 0;
}

static int take_field(void *opaque, const struct qcow2_value *value)
{
	struct recorder *r = opaque;

	if (r->skip || value->audience != QCOW2_FOR_ALL)
		return 0;
	if (!r->inside) { /* beside the structures: how much of a list was left out */
		if (begin_element(r, 0) ||
		    set_label(r, (struct qcow2_bytes){(const uint8_t *)value->name,
						      strlen(value->name)}) ||
		    record(r, value))
			return 1;
		r->inside = false;
		return 0;
	}
	return take_label(r, value) || record(r, value);
}

static bool push(struct recorder *r)
{
	if (r->depth == FRAMES_MAX) {
		q2_fail(r->d->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			"too many structures within others");
		q2_diff_fail(r->d, QCOW2_DIFF_NEITHER);
		return false;
	}
	r->frames[r->depth++] =
		(struct frame){r->list, r->path_size, r->inside, r->skip, r->elements};
	return true;
}

static int pop(struct recorder *r)
{
	const struct frame *frame = &r->frames[--r->depth];

	r->list = frame->list;
	r->path_size = frame->path_size;
	r->inside = frame->inside;
	r->skip = frame->skip;
	r->elements = frame->elements;
	return 0;
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct recorder *r = opaque;
	bool is_element = r->elements;

	if (!push(r))
		return 1;
	r->elements = false;
	if (r->depth == 1 || r->skip)
		return 0;
	if (is_element)
		return begin_element(r, node->index);
	if (r->depth > 2) {
		append(r, node->key, node->index);
		return 0;
	}
	/* Names of feature bits follow from the bits in the header. */
	if (strcmp(node->key, "features") == 0) {
		r->skip = true;
		return 0;
	}
	return begin_element(r, 0) ||
	       set_label(r, (struct qcow2_bytes){(const uint8_t *)node->key, strlen(node->key)});
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	static const char *const keys[Q2_DIFF_LISTS] = {
		[Q2_DIFF_EXTENSIONS] = "extensions",
		[Q2_DIFF_BITMAPS] = "bitmap_directory",
		[Q2_DIFF_SNAPSHOTS] = "snapshots",
	};
	struct recorder *r = opaque;

	if (!push(r))
		return 1;
	r->elements = false;
	if (r->skip)
		return 0;
	for (size_t i = Q2_DIFF_FIXED + 1; i < Q2_DIFF_LISTS; i++)
		if (node->key && strcmp(node->key, keys[i]) == 0) {
			r->list = (enum q2_diff_list)i;
			r->elements = true;
			r->inside = false;
			return 0;
		}
	/* Tables of bitmaps are compared as they are read. */
	if (node->key && strcmp(node->key, "bitmap_table") == 0)
		r->skip = true;
	append(r, node->key, node->index);
	return 0;
}

static int end(void *opaque, const struct qcow2_node *node)
{
	(void)node;
	return pop(opaque);
}

void q2_diff_record(struct q2_diff *d, enum qcow2_diff_side side)
{
	const struct qcow2_visitor visitor = {.size = sizeof(visitor),
					      .begin_struct = begin_struct,
					      .end_struct = end,
					      .begin_list = begin_list,
					      .end_list = end,
					      .field = take_field};
	struct recorder r = {.d = d, .half = &d->halves[side]};
	struct qcow2_error err; /* that of the recorder, if it has stopped the walk, is in d->err */

	if (d->failed || qcow2_walk(r.half->image, NULL, 0, &visitor, &r, &err) == 0 || d->failed)
		return;
	*d->err = err;
	q2_diff_fail(d, side);
}
