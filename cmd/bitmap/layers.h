/* SPDX-License-Identifier: MIT */
/*
 * The bitmaps of one name in all images of a chain. When an overlay is put on an image, what the
 * guest writes from then on is recorded in a bitmap of the overlay, and the backing file keeps what
 * was recorded before: what changed since a backup is what any of them calls dirty.
 */
#ifndef CMD_BITMAP_LAYERS_H
#define CMD_BITMAP_LAYERS_H

#include "bitmap/run.h"

struct layer {
	char *file;
	struct qcow2_source *source;
	struct qcow2_image *image;
};

/* The images of a chain, from the top; a raw file at its end has no bitmaps and is left out. */
struct layers {
	struct layer *items;
	size_t count;
};

/*
 * Opens an image and all below it, for reading. Returns 0, or -1 with *err filled, whose text names
 * the file. Either way layers_close() has to follow.
 */
int layers_open(struct layers *layers, const struct command *command, const char *file,
		struct qcow2_error *err);
void layers_close(struct layers *layers);

/*
 * Finds how many images, from the top, have a bitmap of a name. Images below the last one that has it
 * are older than the bitmap. One in between that has none recorded nothing of what was written while
 * it was the top: that is an error, as is a disk of another size; with `force`, such an image is passed.
 *
 * *count: at least 1. Returns 0, or -1 with *err filled.
 */
int layers_with(const struct layers *layers, const char *name, bool force, size_t *count,
		struct qcow2_error *err);

/*
 * Opens the extents of the bitmap of one image; *out is NULL if the image has none. Returns 0, or -1
 * with *err filled, whose text names the file.
 */
int layers_extents(const struct layer *layer, const char *name, bool force,
		   struct qcow2_dirty_extents **out, struct qcow2_error *err);

#endif
