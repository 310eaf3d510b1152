/* SPDX-License-Identifier: MIT */
/* Header extensions that are of a wrong length, appear twice, or have rows that mean nothing. */
#include "repair/header/header.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/utf8.h"
#include "format/extension_kind.h"
#include "image/extensions.h"
#include "rules/rules.h"

#include <qcow2/limits.h>

#define HEAD_BYTES sizeof(struct qcow2_extension_header)
#define LENGTH_AT  offsetof(struct qcow2_extension_header, length)
#define NAME_BYTES sizeof(struct qcow2_feature_name)
#define KEPT_MOST  256 /* types among which the check finds duplicates */

static uint64_t padded(uint64_t length)
{
	return (length + 7) & ~UINT64_C(7);
}

/* ---- lengths, in place ---- */

static enum qcow2_problem_id problem_of_length(const struct q2_extension_kind *kind,
					       const struct qcow2_extension *extension)
{
	uint32_t length = extension->header.length;

	if (!kind || extension->cut)
		return QCOW2_PROBLEM_NONE;
	if (kind->shape == Q2_EXTENSION_IS_FIELDS && length != kind->structure->size_bytes)
		return QCOW2_PROBLEM_EXTENSION_LENGTH;
	if (kind->shape == Q2_EXTENSION_IS_FEATURE_NAMES && length % NAME_BYTES != 0)
		return QCOW2_PROBLEM_FEATURE_NAME_LENGTH;
	if (kind->id == Q2_EXTENSION_BACKING_FORMAT &&
	    length > QCOW2_LIMIT_QEMU_BACKING_FORMAT_BYTES)
		return QCOW2_PROBLEM_BACKING_FORMAT_LENGTH;
	return QCOW2_PROBLEM_NONE;
}

/*
 * Whether another length, with the same start, leads to a chain that says more than the one behind
 * the claimed length; if both end at one place, the other length is right.
 */
static bool is_better(const struct q2_head *head, const struct qcow2_extension *extension,
		      uint32_t length)
{
	const uint64_t data_at = extension->offset_bytes + HEAD_BYTES, end = q2_head_limit(head);
	struct q2_chain claimed, other;

	if (padded(length) == padded(extension->header.length))
		return true;
	claimed = q2_chain_follow(head->first, data_at + padded(extension->header.length), end);
	other = q2_chain_follow(head->first, data_at + padded(length), end);
	/* Fields take the room that they need, even if a part of them reads as an end mark. */
	if (length > extension->header.length && other.whole && other.score == claimed.score)
		return true;
	return other.whole && (!claimed.whole || other.score > claimed.score);
}

static int mend_one_length(struct q2_repair *repair, const struct q2_head *head,
			   const struct qcow2_extension *extension, enum qcow2_problem_id id)
{
	char where[QCOW2_PROBLEM_WHERE_MAX];
	uint32_t length;

	if (!q2_chain_length(head->first, extension->offset_bytes, q2_head_limit(head), &length) ||
	    length == extension->header.length || !is_better(head, extension, length) ||
	    !q2_repair_may(repair, id, false))
		return 0;
	snprintf(where, sizeof(where), "extensions/%llu/length",
		 (unsigned long long)extension->index);
	return q2_repair_write_number(repair, QCOW2_PHASE_POINT,
				      extension->offset_bytes + LENGTH_AT, length, 4,
				      "the length that the extension's data have") ||
			       q2_head_intend(repair, extension->header.magic) ||
			       q2_head_tell(repair, id, where,
					    "sets the length of the extension to what its data "
					    "have",
					    false)
		       ? -1
		       : 0;
}

static int mend_lengths(struct q2_repair *repair)
{
	struct qcow2_extension extension;
	struct q2_extensions it;
	struct q2_head head;
	int failed = q2_head_open(repair, &head);

	if (!failed) {
		q2_extensions_begin(head.image, &it);
		while (!failed && q2_extensions_next(&it, &extension)) {
			enum qcow2_problem_id id = problem_of_length(
				q2_extension_kind(extension.header.magic), &extension);

			if (id != QCOW2_PROBLEM_NONE)
				failed = mend_one_length(repair, &head, &extension, id);
		}
	}
	q2_head_close(&head);
	return failed;
}

/* ---- what needs the area to be laid out again ---- */

static bool is_all_zeros(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != 0)
			return false;
	return true;
}

/* Changes of the area that are planned with one write: what, and whether they were made. */
struct change {
	enum qcow2_problem_id id;
	const char *does;
	bool made, costs;
	uint32_t magic; /* of the last extension that goes or changes */
};

/* Cuts off what is behind the fields of an extension. */
static void cut_fields(struct q2_repair *repair, struct q2_area *area, struct change *change)
{
	for (size_t i = 0; i < area->count; i++) {
		struct q2_area_extension *extension = &area->extensions[i];
		const struct q2_extension_kind *kind = q2_extension_kind(extension->magic);
		size_t size;

		if (!kind || kind->shape != Q2_EXTENSION_IS_FIELDS)
			continue;
		size = kind->structure->size_bytes;
		if (extension->data.size < size)
			q2_repair_leave(repair, change->id,
					"the extension ends before its fields do");
		if (extension->data.size <= size ||
		    !q2_repair_may(repair, change->id,
				   !is_all_zeros(extension->data.data + size,
						 extension->data.size - size)))
			continue;
		extension->data.size = size;
		extension->padding.size = 0;
		change->magic = extension->magic;
		change->made = true;
	}
}

static bool is_legal_name(const uint8_t *raw)
{
	struct qcow2_feature_name name;

	qcow2_feature_name_decode(&name, raw, NAME_BYTES);
	return name.type <= QCOW2_LIMIT_FEATURE_TYPE_MAX && name.bit <= QCOW2_LIMIT_FEATURE_BIT_MAX;
}

/* Keeps the rows of a feature name table that can mean something, in `room`. */
static void filter_names(struct q2_area_extension *extension, uint8_t *room)
{
	size_t size = 0;

	for (size_t at = 0; extension->data.size - at >= NAME_BYTES; at += NAME_BYTES) {
		if (!is_legal_name(extension->data.data + at))
			continue;
		memcpy(room + size, extension->data.data + at, NAME_BYTES);
		size += NAME_BYTES;
	}
	extension->data = (struct qcow2_bytes){room, size};
	extension->padding.size = 0;
}

/* An extension of the same type that is kept, among the first `count`; NULL if there is none. */
static struct q2_area_extension *find_kept(struct q2_area *area, size_t count, uint32_t magic)
{
	if (count > KEPT_MOST)
		count = KEPT_MOST;
	for (size_t i = 0; i < count; i++)
		if (area->extensions[i].magic == magic)
			return &area->extensions[i];
	return NULL;
}

static bool are_equal(const struct q2_area_extension *a, const struct q2_area_extension *b)
{
	return a->data.size == b->data.size &&
	       (a->data.size == 0 || memcmp(a->data.data, b->data.data, a->data.size) == 0);
}

/*
 * Whether `later` may take the place of one that says something else: QEMU reads the last one of the
 * types it knows. Of others, and of the pointer to the LUKS header, the first one stays.
 */
static bool may_replace(const struct q2_area_extension *later)
{
	const struct q2_extension_kind *kind = q2_extension_kind(later->magic);

	if (!kind || kind->id == Q2_EXTENSION_CRYPTO)
		return false;
	return kind->shape != Q2_EXTENSION_IS_TEXT || q2_utf8_printable(later->data);
}

/* Whether an extension goes whose type is there already. Bitmaps have a doctor of their own. */
static bool is_dropped(struct q2_repair *repair, const struct q2_area_extension *same,
		       const struct q2_area_extension *later)
{
	const bool equal = are_equal(same, later);

	if (!equal)
		q2_repair_leave(repair, QCOW2_PROBLEM_EXTENSION_DUPLICATE,
				"the two say different things, and nothing tells which is right; "
				"'qcow2 dump IMAGE extensions' shows them");
	if (!equal &&
	    (later->magic == QCOW2_EXTENSION_BITMAPS ||
	     (later->magic == QCOW2_EXTENSION_CRYPTO && repair->header->crypt_method == 2)))
		return false;
	return q2_repair_may(repair, QCOW2_PROBLEM_EXTENSION_DUPLICATE, !equal);
}

static void drop_duplicates(struct q2_repair *repair, struct q2_area *area, struct change *change)
{
	size_t kept = 0;

	for (size_t i = 0; i < area->count; i++) {
		struct q2_area_extension extension = area->extensions[i];
		struct q2_area_extension *same = find_kept(area, kept, extension.magic);

		if (!same || !is_dropped(repair, same, &extension)) {
			area->extensions[kept++] = extension;
			continue;
		}
		change->costs |= !are_equal(same, &extension);
		change->magic = extension.magic;
		change->made = true;
		if (!are_equal(same, &extension) && may_replace(&extension))
			*same = extension;
	}
	area->count = kept;
}

/* Makes one change of the area in memory. */
static void make_change(struct q2_repair *repair, struct q2_area *area, struct change *change,
			uint8_t *room)
{
	switch (change->id) {
	case QCOW2_PROBLEM_EXTENSION_LENGTH:
		cut_fields(repair, area, change);
		break;
	case QCOW2_PROBLEM_EXTENSION_DUPLICATE:
		drop_duplicates(repair, area, change);
		break;
	case QCOW2_PROBLEM_EXTENSION_UNTERMINATED:
		/* A name that is no text may be none, and the real one be overwritten. */
		change->made = q2_repair_may(repair, change->id, false) &&
			       !q2_has(repair, QCOW2_PROBLEM_BACKING_NAME_TEXT);
		break;
	default:
		if (!q2_repair_may(repair, change->id, false))
			break;
		for (size_t i = 0; i < area->count; i++) {
			if (area->extensions[i].magic != QCOW2_EXTENSION_FEATURE_NAMES)
				continue;
			filter_names(&area->extensions[i], room);
			room += area->extensions[i].data.size;
			change->made = true;
		}
		change->magic = QCOW2_EXTENSION_FEATURE_NAMES;
	}
}

static int plan_change(struct q2_repair *repair, struct q2_area *area, const struct change *change)
{
	if (!q2_area_fits(area)) {
		q2_repair_leave(repair, change->id,
				"the first cluster has no room to write the extensions anew");
		return 0;
	}
	return q2_area_plan(area, repair->plan, change->does, repair->err) ||
			       (change->magic && q2_head_intend(repair, change->magic)) ||
			       q2_head_tell(repair, change->id, "extensions", change->does,
					    change->costs)
		       ? -1
		       : 0;
}

static int mend_by_area(struct q2_repair *repair, struct change change)
{
	struct q2_area area;
	uint8_t *room = NULL;
	bool usable;
	int failed = q2_head_area(repair, &area, &usable);

	if (!failed && usable) {
		/* Rows of feature names that are kept take less room than all extensions. */
		room = q2_alloc_array((size_t)area.old_end_bytes + 1, 1);
		if (!room)
			failed = q2_fail_memory(repair->err);
	} else if (!failed) {
		q2_repair_leave(repair, change.id,
				"the extensions cannot be told apart, or the backing file's name "
				"would be lost");
	}
	if (room)
		make_change(repair, &area, &change, room);
	if (room && change.made)
		failed = plan_change(repair, &area, &change);
	q2_area_close(&area);
	q2_free(room);
	return failed;
}

int q2_header_mend_extensions(struct q2_repair *repair)
{
	static const struct change changes[] = {
		{QCOW2_PROBLEM_EXTENSION_LENGTH, "cuts off what follows the fields of an extension",
		 false, false, 0},
		{QCOW2_PROBLEM_FEATURE_NAME_LENGTH,
		 "cuts off a row of feature names that is not whole", false, false, 0},
		{QCOW2_PROBLEM_FEATURE_NAME_ENTRY, "drops names of feature bits that cannot exist",
		 false, false, 0},
		{QCOW2_PROBLEM_EXTENSION_DUPLICATE,
		 "drops extensions of a type that is there already", false, false, 0},
		{QCOW2_PROBLEM_EXTENSION_UNTERMINATED,
		 "writes the extensions anew, with an end mark", false, false, 0},
	};
	bool lengths = q2_has(repair, QCOW2_PROBLEM_EXTENSION_LENGTH) ||
		       q2_has(repair, QCOW2_PROBLEM_FEATURE_NAME_LENGTH) ||
		       q2_has(repair, QCOW2_PROBLEM_BACKING_FORMAT_LENGTH);

	if (lengths && mend_lengths(repair))
		return -1;
	if (q2_has(repair, QCOW2_PROBLEM_BACKING_FORMAT_LENGTH))
		q2_repair_leave(repair, QCOW2_PROBLEM_BACKING_FORMAT_LENGTH,
				"nothing tells what the format is: 'qcow2 edit IMAGE backing set "
				"NAME FORMAT' sets it");
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		if (q2_has(repair, changes[i].id) && mend_by_area(repair, changes[i]))
			return -1;
	return 0;
}
