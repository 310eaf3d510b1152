/* SPDX-License-Identifier: MIT */
/* The stream of extents over all files of a chain, for those who read what it leads to. */
#ifndef Q2_GUEST_EXTENTS_H
#define Q2_GUEST_EXTENTS_H

#include "guest/layer.h"

struct qcow2_disk_extents {
	struct qcow2_disk *disk;
	struct q2_layer_stream *streams; /* one for each layer */
	uint64_t at_bytes, end_bytes;    /* [at, end) has not been looked at */
	/* One of the two may still grow (length_bytes 0: there is none); the other was given out. */
	struct qcow2_disk_extent extents[2];
	unsigned pending;  /* which one may still grow */
	uint32_t at_depth; /* where the search stands: of an error, the file that it is about */
};

/* Opens a stream in storage of the caller; as qcow2_disk_extents_open(). */
int q2_disk_extents_init(struct qcow2_disk_extents *extents, struct qcow2_disk *disk,
			 struct qcow2_error *err);
void q2_disk_extents_release(struct qcow2_disk_extents *extents);

/* Finds what is at at_bytes and moves behind it, without joining. 0, or -1 with *err filled. */
int q2_disk_extents_find(struct qcow2_disk_extents *extents, struct qcow2_disk_extent *out,
			 struct qcow2_error *err);

#endif
