/* SPDX-License-Identifier: MIT */
/* An extent as qcow2 map shows it. The flags are those of `qemu-img map`, and of docs/map.md. */
#ifndef CMD_MAP_EXTENT_H
#define CMD_MAP_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2/base.h>
#include <qcow2/problem.h>

enum map_flags {
	MAP_PRESENT = 1 << 0,    /* the file at that depth says what is here */
	MAP_ZERO = 1 << 1,       /* it is known to read as zeros */
	MAP_DATA = 1 << 2,       /* it is read from a file */
	MAP_COMPRESSED = 1 << 3, /* and has to be decompressed */
	MAP_INVALID = 1 << 4,    /* it cannot be read */
};

struct map_extent {
	uint64_t start_bytes, length_bytes;
	uint64_t offset_bytes; /* of the first byte in the file; QCOW2_NO_OFFSET: it has no place */
	uint32_t depth;        /* of the file in the chain */
	uint16_t flags;        /* enum map_flags */
	uint16_t problem;      /* with MAP_INVALID, enum qcow2_problem_id */
};

/* Whether b goes on where a ends, and says the same. */
static inline bool map_extents_join(const struct map_extent *a, const struct map_extent *b)
{
	if (a->flags != b->flags || a->depth != b->depth || a->problem != b->problem)
		return false;
	if (a->offset_bytes == QCOW2_NO_OFFSET || b->offset_bytes == QCOW2_NO_OFFSET)
		return a->offset_bytes == b->offset_bytes;
	return a->offset_bytes + a->length_bytes == b->offset_bytes;
}

#endif
