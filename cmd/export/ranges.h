/* SPDX-License-Identifier: MIT */
/*
 * Which ranges of the disk are exported: all of it, what bitmaps call dirty, or what a file lists.
 * They rise and do not touch each other.
 */
#ifndef CMD_EXPORT_RANGES_H
#define CMD_EXPORT_RANGES_H

#include "common/disk.h"

#include <qcow2/bitmap.h>

struct export_range {
	uint64_t start_bytes, length_bytes;
};

/* An image below the first one. */
struct export_layer {
	const char *path; /* of the disk */
	struct qcow2_image *image;
};

struct export_ranges {
	uint64_t end_bytes;  /* of the disk */
	uint64_t tail_bytes; /* if has_tail: all from here on as well */
	bool has_tail, tail_told;
	bool whole;           /* one range: all */
	const char *disabled; /* a bitmap of the first image, if none of them records */
	struct qcow2_dirty_extents *dirty; /* of bitmaps, or NULL */
	struct export_layer *images;       /* whose bitmaps these are, besides the first one */
	size_t image_count;
	const char *blamed;        /* the file that an error of the bitmaps is about */
	struct export_range *list; /* of a file, or NULL */
	size_t count, at;
};

/* All of a disk of this size. */
void export_ranges_whole(struct export_ranges *ranges, uint64_t size_bytes);

/*
 * What any of some bitmaps calls dirty, in the image or in one of the files below that are part of the
 * disk. A bitmap that cannot be relied on is refused, as its backup would lack something. Returns 0,
 * or -1 with *err filled and ranges->blamed set.
 */
int export_ranges_bitmaps(struct export_ranges *ranges, const struct disk *disk,
			  const char *const *names, size_t count, struct qcow2_error *err);

/*
 * What a document lists: the output of 'qcow2 bitmap extents' as text, JSON or NDJSON, or lines of
 * start and length. What is past the end of the disk is cut off. Returns 0, or -1 with *err filled.
 */
int export_ranges_parse(struct export_ranges *ranges, struct qcow2_bytes document,
			uint64_t size_bytes, struct qcow2_error *err);

/* Adds all from a place to the end of the disk, which may be there already. */
void export_ranges_add_tail(struct export_ranges *ranges, uint64_t start_bytes);

/* Finds the next range. Returns 1 with *out set, 0 behind the last one, or -1 with *err filled. */
int export_ranges_next(struct export_ranges *ranges, struct export_range *out,
		       struct qcow2_error *err);

/* Makes ranges rise, and joins those that touch. Returns how many are left. */
size_t export_ranges_unite(struct export_range *list, size_t count);

void export_ranges_close(struct export_ranges *ranges);

#endif
