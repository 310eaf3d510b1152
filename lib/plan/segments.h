/* SPDX-License-Identifier: MIT */
/*
 * The file as a plan leaves it: disjoint segments in the order of the file, each of which says
 * which write has the last word there. A write of a later phase hides one of an earlier phase,
 * whichever was added first. Within a phase, the write that was added later hides the earlier one.
 *
 * Segments are kept in blocks of a bounded size, so that adding and finding one costs little even
 * if there are millions.
 */
#ifndef Q2_PLAN_SEGMENTS_H
#define Q2_PLAN_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct q2_segment {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint32_t write; /* its number among the writes of the plan */
	uint32_t phase; /* of that write */
};

#define Q2_SEGMENTS_IN_BLOCK 256

struct q2_segment_block {
	size_t count; /* at least 1 */
	struct q2_segment items[Q2_SEGMENTS_IN_BLOCK];
};

struct q2_segments {
	struct q2_segment_block **blocks; /* in the order of the file */
	size_t count, capacity;
};

/* A place among the segments. */
struct q2_segment_at {
	size_t block, item;
};

/* Allocates nothing. */
void q2_segments_init(struct q2_segments *segments);
void q2_segments_release(struct q2_segments *segments);

/*
 * Lays a segment over those that are there. `overlaps`, which may be NULL, is told of each write
 * that has bytes in common with it. False if memory is short: then bytes of the segment may belong
 * to other writes, or to none.
 */
bool q2_segments_add(struct q2_segments *segments, const struct q2_segment *segment,
		     void (*overlaps)(void *opaque, uint32_t write), void *opaque);

/*
 * Returns the first segment that ends behind `offset_bytes`, with its place in *at; NULL if there
 * is none.
 */
const struct q2_segment *q2_segments_find(const struct q2_segments *segments, uint64_t offset_bytes,
					  struct q2_segment_at *at);

/* Returns the segment that follows the one at *at, and steps to it; NULL if there is none. */
const struct q2_segment *q2_segments_next(const struct q2_segments *segments,
					  struct q2_segment_at *at);

#endif
