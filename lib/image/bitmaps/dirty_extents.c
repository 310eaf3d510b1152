/* SPDX-License-Identifier: MIT */
/* Hands out the extents that a stream has queued, combines streams, and finds bitmaps by name. */
#include "image/bitmaps/dirty_extents.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/internal.h"

#include <qcow2/text.h>

uint64_t qcow2_dirty_extents_size_bytes(const struct qcow2_dirty_extents *extents)
{
	return extents->size_bytes;
}

void qcow2_dirty_extents_close(struct qcow2_dirty_extents *extents)
{
	if (extents)
		extents->kind->close(extents);
}

/* Fills the queue, which is empty. Returns whether it has extents now, or -1 with *err filled. */
static int refill(struct qcow2_dirty_extents *extents, struct qcow2_error *err)
{
	int more = 1;

	extents->next = extents->count = 0;
	while (extents->count == 0 && more > 0 && !extents->ended)
		more = extents->kind->fill(extents, err);
	if (more < 0)
		return -1;
	extents->ended |= more == 0;
	/* Nothing flips at the end of the disk, so that the last extent is ended here. */
	if (extents->ended && extents->begun && extents->start_bytes < extents->size_bytes)
		q2_dirty_extents_flip(extents, extents->size_bytes);
	return extents->count > 0;
}

int qcow2_dirty_extents_next(struct qcow2_dirty_extents *extents, struct qcow2_dirty_extent *out,
			     struct qcow2_error *err)
{
	if (extents->next == extents->count) {
		int more = refill(extents, err);

		if (more <= 0)
			return more;
	}
	*out = extents->queue[extents->next++];
	return 1;
}

int qcow2_dirty_extents_take(struct qcow2_dirty_extents *extents, struct qcow2_dirty_extent *out,
			     size_t most, size_t *count, struct qcow2_error *err)
{
	size_t queued;

	*count = 0;
	if (most == 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "there is no room for a range");
	if (extents->next == extents->count) {
		int more = refill(extents, err);

		if (more <= 0)
			return more;
	}
	queued = extents->count - extents->next;
	*count = queued < most ? queued : most;
	memcpy(out, &extents->queue[extents->next], *count * sizeof(*out));
	extents->next += *count;
	return 1;
}

/* ---- combinations ---- */

struct part {
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent now; /* what is left of the extent that it gave last */
};

struct combination {
	struct qcow2_dirty_extents common;
	enum qcow2_dirty_extents_operation operation;
	uint64_t at; /* [0, at) of the disk has been told */
	size_t count;
	struct part parts[];
};

static bool is_dirty(const struct combination *c)
{
	bool any = false, all = true, others = false;

	for (size_t i = 0; i < c->count; i++) {
		any |= c->parts[i].now.dirty;
		all &= c->parts[i].now.dirty;
		others |= i > 0 && c->parts[i].now.dirty;
	}
	if (c->operation == QCOW2_DIRTY_EXTENTS_UNION)
		return any;
	return c->operation == QCOW2_DIRTY_EXTENTS_INTERSECT ? all
							     : c->parts[0].now.dirty && !others;
}

/*
 * Tells the state from c->at on, as far as no part changes. Returns 1, 0 at the end of the disk, or
 * -1 with *err filled.
 */
static int combine_next(struct combination *c, struct qcow2_error *err)
{
	uint64_t length = c->common.size_bytes - c->at;

	for (size_t i = 0; i < c->count; i++) {
		struct part *part = &c->parts[i];

		if (part->now.length_bytes == 0 && length > 0 &&
		    qcow2_dirty_extents_next(part->extents, &part->now, err) < 0)
			return -1;
		if (part->now.length_bytes < length)
			length = part->now.length_bytes;
	}
	if (length == 0)
		return 0;
	q2_dirty_extents_turn(&c->common, c->at, is_dirty(c));
	for (size_t i = 0; i < c->count; i++)
		c->parts[i].now.length_bytes -= length;
	c->at += length;
	return 1;
}

static int combination_fill(struct qcow2_dirty_extents *extents, struct qcow2_error *err)
{
	struct combination *c = (struct combination *)extents;
	int more = 1;

	while (more > 0 && q2_dirty_extents_have_room(extents))
		more = combine_next(c, err);
	return more;
}

static void combination_close(struct qcow2_dirty_extents *extents)
{
	struct combination *c = (struct combination *)extents;

	for (size_t i = 0; i < c->count; i++)
		qcow2_dirty_extents_close(c->parts[i].extents);
	q2_free(c);
}

static const struct q2_dirty_extents_kind combination_kind = {combination_fill, combination_close};

/* Closes the streams that were handed in, as a failure does. */
static int give_up(struct qcow2_dirty_extents *const *parts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		qcow2_dirty_extents_close(parts[i]);
	return -1;
}

int qcow2_dirty_extents_combine(enum qcow2_dirty_extents_operation operation,
				struct qcow2_dirty_extents *const *parts, size_t count,
				struct qcow2_dirty_extents **out, struct qcow2_error *err)
{
	struct combination *c;
	bool same = true;

	if (count == 0 || (unsigned)operation > QCOW2_DIRTY_EXTENTS_SUBTRACT) {
		(void)q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			      count == 0 ? "there is no stream to combine"
					 : "there is no such way to combine streams");
		return give_up(parts, count);
	}
	if (count == 1) {
		*out = parts[0];
		return 0;
	}
	c = q2_alloc(sizeof(*c) + count * sizeof(c->parts[0]));
	if (!c) {
		(void)q2_fail_memory(err);
		return give_up(parts, count);
	}
	c->common.kind = &combination_kind;
	c->common.size_bytes = parts[0]->size_bytes;
	c->operation = operation;
	c->count = count;
	for (size_t i = 0; i < count; i++) {
		c->parts[i].extents = parts[i];
		same &= parts[i]->size_bytes == parts[0]->size_bytes;
	}
	if (!same) {
		combination_close(&c->common);
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the disks that the bitmaps are of have different sizes");
	}
	*out = &c->common;
	return 0;
}

/* ---- bitmaps by name ---- */

int qcow2_bitmap_find(const struct qcow2_image *image, struct qcow2_bytes name,
		      struct qcow2_bitmap_dir_entry *out, struct qcow2_error *err)
{
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_error why;
	unsigned found = 0;
	int more = 0;

	if (qcow2_bitmaps_open(image, &bitmaps, &why)) {
		bitmaps = NULL;
		if (why.code != QCOW2_ERROR_NOT_FOUND) {
			if (err)
				*err = why;
			return -1;
		}
	}
	while (bitmaps && (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0) {
		if (bitmap->cut || bitmap->name.size != name.size ||
		    (name.size > 0 && memcmp(bitmap->name.data, name.data, name.size) != 0))
			continue;
		if (found++ == 0)
			*out = bitmap->entry;
	}
	qcow2_bitmaps_close(bitmaps);
	if (more < 0)
		return -1;
	if (found == 1)
		return 0;
	if (found > 1)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "%u bitmaps have that name", found);
	return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
		       "there is no bitmap of that name");
}

void qcow2_bitmap_error(struct qcow2_error *err, struct qcow2_bytes name)
{
	char text[sizeof(err->text)], safe[96];

	if (!err)
		return;
	memcpy(text, err->text, sizeof(text));
	qcow2_text_escape(name, safe, sizeof(safe));
	snprintf(err->text, sizeof(err->text), "bitmap '%s': %.148s", safe, text);
}
