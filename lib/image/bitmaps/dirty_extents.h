/* SPDX-License-Identifier: MIT */
/* Streams of dirty extents: what the kinds of streams share, and the queue that they fill. */
#ifndef Q2_IMAGE_BITMAPS_DIRTY_EXTENTS_H
#define Q2_IMAGE_BITMAPS_DIRTY_EXTENTS_H

#include <assert.h>

#include <qcow2/bitmap.h>

#define Q2_DIRTY_EXTENTS_QUEUED 1024
/* A stream may flip so often before it asks for room again: once for each bit of a word. */
#define Q2_DIRTY_EXTENTS_STEP 64

/*
 * A kind of stream. fill() goes on where it stopped and calls q2_dirty_extents_turn() wherever the
 * state may change, at byte 0 first. It returns when the queue has no room, or earlier: 1, 0 at the
 * end of the disk, or -1 with *err filled.
 */
struct q2_dirty_extents_kind {
	int (*fill)(struct qcow2_dirty_extents *extents, struct qcow2_error *err);
	void (*close)(struct qcow2_dirty_extents *extents); /* frees all, *extents included */
};

struct qcow2_dirty_extents {
	const struct q2_dirty_extents_kind *kind;
	uint64_t size_bytes;
	uint64_t start_bytes; /* of the open extent, whose end is not known yet */
	bool begun, dirty, ended;
	size_t next, count; /* in the queue */
	struct qcow2_dirty_extent
		queue[Q2_DIRTY_EXTENTS_QUEUED + 1]; /* and the one that ends the disk */
};

static inline bool q2_dirty_extents_have_room(const struct qcow2_dirty_extents *extents)
{
	return extents->count <= Q2_DIRTY_EXTENTS_QUEUED - Q2_DIRTY_EXTENTS_STEP;
}

/* Ends the open extent at at_bytes, which is past its start, and opens one of the other state. */
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

/* Starts an extent of state `dirty` at at_bytes, unless the open one has that state already. */
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
