/* SPDX-License-Identifier: MIT */
/* See segments.h. */
#include "plan/segments.h"

#include <string.h>

#include "base/alloc.h"

#define FIRST_CAPACITY 16

void q2_segments_init(struct q2_segments *segments)
{
	*segments = (struct q2_segments){.blocks = NULL};
}

void q2_segments_release(struct q2_segments *segments)
{
	for (size_t i = 0; i < segments->count; i++)
		q2_free(segments->blocks[i]);
	q2_free(segments->blocks);
	q2_segments_init(segments);
}

static uint64_t end_of(const struct q2_segment *segment)
{
	return segment->offset_bytes + segment->size_bytes;
}

/* Returns the segment at a place; NULL behind the last one. */
static struct q2_segment *item_at(const struct q2_segments *segments,
				  const struct q2_segment_at *at)
{
	return at->block < segments->count ? &segments->blocks[at->block]->items[at->item] : NULL;
}

/* Returns the index of the first block whose last segment ends behind `offset`. */
static size_t find_block(const struct q2_segments *segments, uint64_t offset)
{
	size_t low = 0, high = segments->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct q2_segment_block *block = segments->blocks[middle];

		if (end_of(&block->items[block->count - 1]) > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const struct q2_segment *q2_segments_find(const struct q2_segments *segments, uint64_t offset_bytes,
					  struct q2_segment_at *at)
{
	const struct q2_segment_block *block;
	size_t low = 0, high;

	*at = (struct q2_segment_at){find_block(segments, offset_bytes), 0};
	if (at->block == segments->count)
		return NULL;
	block = segments->blocks[at->block];
	for (high = block->count - 1; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (end_of(&block->items[middle]) > offset_bytes)
			high = middle;
		else
			low = middle + 1;
	}
	at->item = low;
	return &block->items[low];
}

const struct q2_segment *q2_segments_next(const struct q2_segments *segments,
					  struct q2_segment_at *at)
{
	if (++at->item == segments->blocks[at->block]->count)
		*at = (struct q2_segment_at){at->block + 1, 0};
	return item_at(segments, at);
}

/* Inserts an empty block at an index; false if memory is short. */
static bool insert_block(struct q2_segments *segments, size_t index)
{
	struct q2_segment_block *block = q2_alloc_buffer(sizeof(*block));

	if (!block)
		return false;
	if (segments->count == segments->capacity) {
		size_t capacity = segments->capacity ? segments->capacity * 2 : FIRST_CAPACITY;
		void *grown =
			q2_realloc_array(segments->blocks, capacity, sizeof(*segments->blocks));

		if (!grown) {
			q2_free(block);
			return false;
		}
		segments->blocks = grown;
		segments->capacity = capacity;
	}
	memmove(&segments->blocks[index + 1], &segments->blocks[index],
		(segments->count - index) * sizeof(*segments->blocks));
	segments->blocks[index] = block;
	segments->count++;
	block->count = 0;
	return true;
}

/* Splits a full block: its upper half becomes a block of its own. *at stays at its segment. */
static bool split(struct q2_segments *segments, struct q2_segment_at *at)
{
	struct q2_segment_block *block, *upper;
	size_t half = Q2_SEGMENTS_IN_BLOCK / 2;

	if (!insert_block(segments, at->block + 1))
		return false;
	block = segments->blocks[at->block];
	upper = segments->blocks[at->block + 1];
	memcpy(upper->items, block->items + half,
	       (Q2_SEGMENTS_IN_BLOCK - half) * sizeof(*block->items));
	upper->count = Q2_SEGMENTS_IN_BLOCK - half;
	block->count = half;
	if (at->item > half)
		*at = (struct q2_segment_at){at->block + 1, at->item - half};
	return true;
}

/* Inserts a segment before the one at *at. *at becomes the place of the new segment. */
static bool insert(struct q2_segments *segments, struct q2_segment_at *at,
		   const struct q2_segment *segment)
{
	struct q2_segment_block *block;

	if (at->block == segments->count) {
		if (segments->count == 0) {
			if (!insert_block(segments, 0))
				return false;
			*at = (struct q2_segment_at){0, 0};
		} else {
			at->block--;
			at->item = segments->blocks[at->block]->count;
		}
	}
	if (segments->blocks[at->block]->count == Q2_SEGMENTS_IN_BLOCK && !split(segments, at))
		return false;
	block = segments->blocks[at->block];
	memmove(&block->items[at->item + 1], &block->items[at->item],
		(block->count - at->item) * sizeof(*block->items));
	block->items[at->item] = *segment;
	block->count++;
	return true;
}

/* Removes the segment at a place. *at becomes the place of the next one. */
static void remove_at(struct q2_segments *segments, struct q2_segment_at *at)
{
	struct q2_segment_block *block = segments->blocks[at->block];

	block->count--;
	memmove(&block->items[at->item], &block->items[at->item + 1],
		(block->count - at->item) * sizeof(*block->items));
	if (block->count == 0) {
		segments->count--;
		memmove(&segments->blocks[at->block], &segments->blocks[at->block + 1],
			(segments->count - at->block) * sizeof(*segments->blocks));
		q2_free(block);
		at->item = 0;
	} else if (at->item == block->count) {
		*at = (struct q2_segment_at){at->block + 1, 0};
	}
}

/* Cuts the segment at *at in two at `offset`. *at becomes the place of the second part. */
static bool cut(struct q2_segments *segments, struct q2_segment_at *at, uint64_t offset)
{
	struct q2_segment *segment = item_at(segments, at);
	struct q2_segment first = *segment;

	first.size_bytes = offset - segment->offset_bytes;
	segment->size_bytes -= first.size_bytes;
	segment->offset_bytes = offset;
	if (!insert(segments, at, &first))
		return false;
	(void)q2_segments_next(segments, at);
	return true;
}

/*
 * Inserts the part of *rest that lies before `end`, where no segment is, and steps past it. *rest
 * becomes what is left.
 */
static bool fill(struct q2_segments *segments, struct q2_segment_at *at, struct q2_segment *rest,
		 uint64_t end)
{
	struct q2_segment part = *rest;

	if (end > end_of(rest))
		end = end_of(rest);
	part.size_bytes = end - rest->offset_bytes;
	rest->size_bytes -= part.size_bytes;
	rest->offset_bytes = end;
	if (part.size_bytes == 0)
		return true;
	if (!insert(segments, at, &part))
		return false;
	(void)q2_segments_next(segments, at);
	return true;
}

/*
 * Removes the part of the segment at *at that *rest hides. The segment begins at or before *rest.
 */
static bool hide(struct q2_segments *segments, struct q2_segment_at *at,
		 const struct q2_segment *rest)
{
	if (item_at(segments, at)->offset_bytes < rest->offset_bytes &&
	    !cut(segments, at, rest->offset_bytes))
		return false;
	if (end_of(item_at(segments, at)) <= end_of(rest)) {
		remove_at(segments, at);
		return true;
	}
	/* The part behind *rest stays. */
	if (!cut(segments, at, end_of(rest)))
		return false;
	if (at->item == 0)
		*at = (struct q2_segment_at){at->block - 1,
					     segments->blocks[at->block - 1]->count - 1};
	else
		at->item--;
	remove_at(segments, at);
	return true;
}

/*
 * Walks over all segments that the new one overlaps. `rest` is the part of the new segment that is
 * not laid yet. A segment of an earlier or the same phase makes way. One of a later phase stays,
 * and only the gap before it is filled. At every step the segments stay disjoint and in order.
 */
bool q2_segments_add(struct q2_segments *segments, const struct q2_segment *segment,
		     void (*overlaps)(void *opaque, uint32_t write), void *opaque)
{
	struct q2_segment rest = *segment;
	struct q2_segment_at at;
	const struct q2_segment *there;

	(void)q2_segments_find(segments, rest.offset_bytes, &at);
	while ((there = item_at(segments, &at)) && there->offset_bytes < end_of(&rest)) {
		uint64_t there_end = end_of(there);

		if (overlaps)
			overlaps(opaque, there->write);
		if (there->phase <= segment->phase) {
			if (!hide(segments, &at, &rest))
				return false;
			continue;
		}
		if (there->offset_bytes > rest.offset_bytes &&
		    !fill(segments, &at, &rest, there->offset_bytes))
			return false;
		if (there_end >= end_of(&rest))
			return true;
		rest.size_bytes = end_of(&rest) - there_end;
		rest.offset_bytes = there_end;
		(void)q2_segments_next(segments, &at);
	}
	return fill(segments, &at, &rest, end_of(&rest));
}
