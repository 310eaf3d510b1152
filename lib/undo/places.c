/* SPDX-License-Identifier: MIT */
/* See places.h. */
#include "undo/places.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "plan/places.h"

/* One piece, and for each of its bytes whether the byte there is allowed. */
struct looking {
	struct q2_undoing *u;
	const struct q2_undo_record *record;
	uint8_t *now, *other; /* Q2_PLACE_MOST_BYTES each */
	bool *allowed;
	size_t next_mark; /* index in u->marks */
};

static void allow_same(struct looking *l)
{
	for (uint32_t i = 0; i < l->record->size; i++)
		l->allowed[i] |= l->now[i] == l->other[i];
}

/*
 * Allows bytes that differ from the expected ones only in bits that an undo may have set or
 * cleared.
 */
static void allow_marks(struct looking *l)
{
	const struct q2_undo_patches *marks = &l->u->marks;
	uint64_t offset = l->record->offset_bytes;

	while (l->next_mark < marks->count && marks->items[l->next_mark].offset_bytes < offset)
		l->next_mark++;
	for (size_t i = l->next_mark; i < marks->count; i++) {
		const struct q2_undo_patch *mark = &marks->items[i];
		uint64_t at = mark->offset_bytes - offset;
		uint8_t bits = mark->set | mark->clear;

		if (at >= l->record->size)
			break;
		l->allowed[at] |= ((l->now[at] ^ l->other[at]) & ~bits) == 0;
	}
}

/* Allows the bytes that a place may hold in between, if the plan writes it more than once. */
static int allow_possible(struct looking *l)
{
	const struct qcow2_undo *undo = l->u->undo;
	uint64_t start = l->record->offset_bytes;
	struct q2_undo_overlap overlap = q2_undo_overlaps(undo, start, start + l->record->size);

	while (q2_undo_next_overlap(undo, &overlap)) {
		if (q2_undo_read_overlap(undo, &overlap, l->other, l->u->err))
			return -1;
		for (uint64_t at = overlap.first; at < overlap.last; at++)
			l->allowed[at - start] |=
				l->now[at - start] == l->other[at - overlap.first];
	}
	return 0;
}

static int look_at(struct looking *l)
{
	enum qcow2_undo_state state = l->u->undo->info.state;
	bool any = l->u->is_copy, old_allowed = any || state != QCOW2_UNDO_APPLIED;
	bool new_allowed = any || state != QCOW2_UNDO_UNDONE;

	if (q2_undo_read_now(l->u, l->record->offset_bytes, l->now, l->record->size))
		return -1;
	memset(l->allowed, 0, l->record->size * sizeof(*l->allowed));
	if (new_allowed) {
		if (q2_undo_read_new(l->u->undo, l->record, l->other, l->u->err))
			return -1;
		allow_same(l);
		allow_marks(l);
	}
	if (old_allowed) {
		if (q2_undo_read_old(l->u->undo, l->record, l->other, l->u->err))
			return -1;
		l->u->is_old &= memcmp(l->now, l->other, l->record->size) == 0;
		allow_same(l);
		allow_marks(l);
	}
	if (old_allowed && new_allowed && allow_possible(l))
		return -1;
	for (uint32_t i = 0; i < l->record->size; i++)
		if (!l->allowed[i])
			return q2_undo_mismatch(l->u, l->record->offset_bytes + i,
						"the image was written to since: what the "
						"change wrote is not there any more");
	return 0;
}

int q2_undo_check_places(struct q2_undoing *u)
{
	const struct q2_undo_records *pieces = &u->undo->pieces;
	uint8_t *buffer = q2_alloc_buffer(3 * Q2_PLACE_MOST_BYTES);
	struct looking l = {.u = u, .now = buffer};
	int failed = 0;

	if (!buffer)
		return q2_fail_memory(u->err);
	l.other = buffer + Q2_PLACE_MOST_BYTES;
	l.allowed = (bool *)(l.other + Q2_PLACE_MOST_BYTES);
	for (size_t i = 0; i < pieces->count && !failed; i++) {
		l.record = &pieces->items[i];
		failed = look_at(&l);
	}
	q2_free(buffer);
	return failed;
}

/* Whether the difference is only in bits that an earlier undo may have set or cleared. */
static bool differs_in_marks(const struct q2_undoing *u, const struct q2_undo_record *record,
			     uint8_t *now, const uint8_t *then)
{
	for (size_t i = 0; i < u->marks.count; i++) {
		const struct q2_undo_patch *mark = &u->marks.items[i];
		uint64_t at = mark->offset_bytes - record->offset_bytes;

		if (mark->offset_bytes >= record->offset_bytes && at < record->size &&
		    ((now[at] ^ then[at]) & ~(mark->set | mark->clear)) == 0)
			now[at] = then[at];
	}
	return memcmp(now, then, record->size) == 0;
}

int q2_undo_check_freed(struct q2_undoing *u)
{
	const struct q2_undo_records *freed = &u->undo->freed;
	uint8_t *now = q2_alloc_buffer(2 * Q2_PLACE_MOST_BYTES), *then;
	int failed = 0;

	if (!now)
		return q2_fail_memory(u->err);
	then = now + Q2_PLACE_MOST_BYTES;
	for (size_t i = 0; i < freed->count && !failed; i++) {
		const struct q2_undo_record *record = &freed->items[i];
		uint64_t there = qcow2_source_size_bytes(u->image);

		/* A hole that was a hole when it was saved need not be compared. */
		if (record->old_size == 0 && record->offset_bytes < there &&
		    qcow2_source_hole_end(u->image, record->offset_bytes) - record->offset_bytes >=
			    record->size)
			continue;
		failed = q2_undo_read_now(u, record->offset_bytes, now, record->size) ||
			 q2_undo_read_old(u->undo, record, then, u->err);
		if (!failed && memcmp(now, then, record->size) != 0 &&
		    !differs_in_marks(u, record, now, then))
			failed = q2_undo_mismatch(
				u, record->offset_bytes,
				"the image was written to since: clusters that the change freed, "
				"or bitmaps that it left alone, are not what they were");
	}
	q2_free(now);
	return failed ? -1 : 0;
}
