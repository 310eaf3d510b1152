/* SPDX-License-Identifier: MIT */
/* One file of a chain as a stream of extents. It says what this file says, and nothing of others. */
#ifndef Q2_GUEST_LAYER_H
#define Q2_GUEST_LAYER_H

#include "guest/disk.h"

/* A part of a raw file: data or a hole. What is known of the file outlives the range. */
struct q2_raw_run {
	uint64_t start, end; /* end 0: none is known */
	bool is_hole;
};

struct q2_layer_stream {
	const struct q2_layer *layer;
	struct qcow2_mapping *mapping; /* NULL: a raw file, or one that is missing */
	uint64_t end_bytes;            /* where the range ends that it goes through */
	bool sought;                   /* the mapping has been sought to the range */
	uint64_t mapped_to;            /* where the mapping goes on by itself, if it was sought */
	bool by_sectors;               /* tables are read sector by sector */
	struct q2_raw_run raw;
	/*
	 * Covers what was asked for last, if length_bytes is not 0. Its depth is not set. Where a
	 * qcow2 image says nothing, its kind is UNALLOCATED, and files below decide.
	 */
	struct qcow2_disk_extent now;
	/* Of `now`: */
	struct qcow2_host entry_at; /* where its first table entry is in the image file */
	uint64_t entry;             /* the L2 entry of a compressed cluster */
	uint64_t packed_bytes;      /* how many bytes its data take at most */
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

/*
 * Reads tables sector by sector until the next range begins. For a layer of an image whose table could
 * not be read.
 */
void q2_layer_stream_read_sectors(struct q2_layer_stream *stream);

/* How many bytes of the layer, from `at` on, a sector of an L2 table maps that holds the entry of `at`. */
uint64_t q2_layer_sector_reach(const struct q2_layer *layer, uint64_t at);

#endif
