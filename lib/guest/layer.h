/* SPDX-License-Identifier: MIT */
/* One file of a chain as a stream of extents. It says what this file says, and nothing of others. */
#ifndef Q2_GUEST_LAYER_H
#define Q2_GUEST_LAYER_H

#include "guest/disk.h"

struct q2_layer_stream {
	const struct q2_layer *layer;
	struct qcow2_mapping *mapping; /* NULL: a raw file, or one that is missing */
	uint64_t end_bytes;            /* where the range ends that it goes through */
	/* Covers what was asked for last, if length_bytes is not 0. Its depth is not set. */
	struct qcow2_disk_extent now;
	/*
	 * Of `now`, if it is of a qcow2 image that says nothing there: whether files below decide.
	 * Its kind is UNALLOCATED then.
	 */
	uint64_t entry;        /* the L2 entry of a compressed cluster */
	uint64_t packed_bytes; /* how many bytes its data take at most */
};

/* Opens a stream. Returns 0, or -1 with *err filled. */
int q2_layer_stream_open(struct q2_layer_stream *stream, const struct q2_layer *layer,
			 struct qcow2_error *err);
void q2_layer_stream_close(struct q2_layer_stream *stream);

/* Begins a range. Nothing is read. */
void q2_layer_stream_seek(struct q2_layer_stream *stream, uint64_t end_bytes);

/*
 * Makes `now` an extent that covers the byte `at`, which is inside the layer and the range. It may
 * have begun before `at`, and ends with the range at the latest. Returns 0, or -1 with *err filled.
 */
int q2_layer_stream_find(struct q2_layer_stream *stream, uint64_t at, struct qcow2_error *err);

#endif
