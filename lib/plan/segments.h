/* SPDX-License-Identifier: MIT */
/*
 * Which write of a plan has the last word on each byte: disjoint segments in the order of the
 * file. A write of a later phase hides one of an earlier phase, whichever was added first.
 *
 * Segments are kept in blocks of a bounded size, so that adding one, and finding one, costs little
 * even if there are millions.
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
	size_t count; /* never 0 */
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
 * Lays a segment over those that are there. overlaps, which may be NULL, is told of each write that
 * has bytes in common with it. False if memory is short: then the bytes of the segment may belong
 * to other writes, or to none.
 */
bool q2_segments_add(struct q2_segments *segments, const struct q2_segment *segment,
		     void (*overlaps)(void *opaque, uint32_t write), void *opaque);

/* The first segment that ends behind offset, or NULL; *at is its place. */
const struct q2_segment *q2_segments_find(const struct q2_segments *segments, uint64_t offset_bytes,
					  struct q2_segment_at *at);

/* The segment that follows the one at *at, or NULL. */
const struct q2_segment *q2_segments_next(const struct q2_segments *segments,
					  struct q2_segment_at *at);

#endif
