/* SPDX-License-Identifier: MIT */
/*
 * One file of a chain as a stream of extents: a qcow2 image, a snapshot of it, or a raw file. It says
 * what this file says; whether something lies below is the stack's business.
 */
#ifndef CMD_MAP_LAYER_H
#define CMD_MAP_LAYER_H

#include "map/extent.h"
#include "map/holes.h"

#include <qcow2/image.h>
#include <qcow2/mapping.h>
#include <qcow2/source.h>

struct map_layer {
	char *file;        /* its path */
	char *offset_file; /* the path of what offsets lead into: itself, or its data file */
	struct qcow2_source *source;
	struct qcow2_image *image;     /* NULL: a raw file */
	struct qcow2_mapping *mapping; /* of an image */
	struct qcow2_source *data;     /* an external data file that was opened, or NULL */
	uint64_t size_bytes;           /* of the disk as QEMU sees it: whole sectors */
	uint64_t end_bytes;            /* where the range ends that it goes through */
	bool encrypted;                /* then offsets are of no use */
	bool has_backing;              /* the image names a backing file */
	bool has_holes;                /* data may lie in holes */
	struct map_holes holes;
	bool of_snapshot; /* of that index */
	uint64_t snapshot;
	struct map_extent now; /* what map_layer_find() found */
	uint64_t rest_bytes;   /* of the extent of the image that `now` is of, what is behind it */
};

/*
 * Opens the stream of an image, of a snapshot, or of a raw file.
 *
 * layer: all zeros but for file, source and image (NULL: a raw file), which it owns from now on, also
 * after a failure. snapshot: the index of one, or NULL. follow: open the external data file, if it
 * has to be known where that has holes.
 *
 * Returns 0, or -1 with *err filled.
 */
int map_layer_open(struct map_layer *layer, const uint64_t *snapshot, bool follow,
		   struct qcow2_error *err);

/*
 * Makes a layer that reads the same files with a stream of its own, for another thread. The original
 * stays open until map_layer_close_copy(). Returns 0, or -1 with *err filled.
 */
int map_layer_copy(const struct map_layer *layer, struct map_layer *copy, struct qcow2_error *err);
void map_layer_close_copy(struct map_layer *copy);

/* Begins a range, which is cut where the disk ends. */
void map_layer_seek(struct map_layer *layer, uint64_t start_bytes, uint64_t end_bytes);

/* Goes on until `now` covers an offset of the range. See map_layer_find(). */
int map_layer_go_on(struct map_layer *layer, uint64_t at, struct qcow2_error *err);

/*
 * Makes `now` an extent that covers `at`, which is inside the range and not before what was asked
 * for last. Its depth is 0. Neighbours may say the same. Returns 0, or -1 with *err filled.
 */
static inline int map_layer_find(struct map_layer *layer, uint64_t at, struct qcow2_error *err)
{
	if (layer->now.start_bytes + layer->now.length_bytes > at)
		return 0;
	return map_layer_go_on(layer, at, err);
}

/* Closes and frees all. */
void map_layer_close(struct map_layer *layer);

#endif
