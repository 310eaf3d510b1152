/* SPDX-License-Identifier: MIT */
/* Streams of extents: what the kinds of them share. */
#ifndef Q2_IMAGE_BITMAPS_DIRTY_EXTENTS_H
#define Q2_IMAGE_BITMAPS_DIRTY_EXTENTS_H

#include <assert.h>

#include <qcow2/bitmap.h>

#define Q2_DIRTY_EXTENTS_QUEUED 1024
/* What may be told without looking whether there is room: the bits of a word. */
#define Q2_DIRTY_EXTENTS_STEP 64

/*
 * A kind of stream. fill() goes on in order, turns wherever the disk may become dirty or clean, at
 * 0 first, and returns once the queue has no room or it likes to: 1, 0 at the end, or -1.
 */
struct q2_dirty_extents_kind {
	int (*fill)(struct qcow2_dirty_extents *extents, struct qcow2_error *err);
	void (*close)(struct qcow2_dirty_extents *extents); /* frees all, *extents included */
};

struct qcow2_dirty_extents {
	const struct q2_dirty_extents_kind *kind;
	uint64_t size_bytes;
	uint64_t start_bytes; /* of the extent whose end is not known yet */
	bool begun, dirty, ended;
	size_t next, count; /* in the queue */
	struct qcow2_dirty_extent
		queue[Q2_DIRTY_EXTENTS_QUEUED + 1]; /* and the one that ends the disk */
};

static inline bool q2_dirty_extents_have_room(const struct qcow2_dirty_extents *extents)
{
	return extents->count <= Q2_DIRTY_EXTENTS_QUEUED - Q2_DIRTY_EXTENTS_STEP;
}

/* The extent ends at a place behind its start, and one of the other sort begins. */
static inline void q2_dirty_extents_flip(struct qcow2_dirty_extents *extents, uint64_t at_bytes)
{
	struct qcow2_dirty_extent *extent = &extents->queue[extents->count++];

	assert(extents->count <= Q2_DIRTY_EXTENTS_QUEUED + 1);
	extent->start_bytes = extents->start_bytes;
	extent->length_bytes = at_bytes - extents->start_bytes;
	extent->dirty = extents->dirty;
	extents->start_bytes = at_bytes;
	extents->dirty = !extents->dirty;
}

/* From a place on, the disk is so, perhaps as before. */
static inline void q2_dirty_extents_turn(struct qcow2_dirty_extents *extents, uint64_t at_bytes,
					 bool dirty)
{
	if (!extents->begun) {
		extents->begun = true;
		extents->dirty = dirty;
	}
	if (dirty != extents->dirty)
		q2_dirty_extents_flip(extents, at_bytes);
}

#endif
