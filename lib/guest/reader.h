/* SPDX-License-Identifier: MIT */
/* A reader, for those who read with it. */
#ifndef Q2_GUEST_READER_H
#define Q2_GUEST_READER_H

#include "codec/inflate.h"
#include "guest/extents.h"

struct q2_reader {
	struct q2_reader *next; /* while nobody has it */
	struct qcow2_disk_extents extents;
	/* Of the layer that compressed data was read from last; NULL: of none yet. */
	struct q2_inflater *inflater;
	size_t inflater_bytes; /* the size of its clusters */
	bool inflater_zstd;
	uint8_t *packed; /* compressed data */
	size_t packed_bytes;
};

/*
 * Reads the part [at, at + size) of an extent of kind DATA that q2_disk_extents_find() gave last, into
 * a buffer. Returns 0, or -1 with *err filled.
 */
int q2_fetch(struct q2_reader *reader, const struct qcow2_disk_extent *extent, uint64_t at,
	     uint8_t *buffer, size_t size, struct qcow2_error *err);

#endif
