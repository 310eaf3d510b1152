/* SPDX-License-Identifier: MIT */
/* The image as the files of this room see it, and the window through which they read. */
#ifndef Q2_IMAGE_INTERNAL_H
#define Q2_IMAGE_INTERNAL_H

#include <qcow2/image.h>

struct qcow2_image {
	struct qcow2_source *source;
	struct qcow2_header header;
	struct qcow2_geometry geometry;
	bool sane; /* geometry may be used */
	uint8_t *first;
	size_t first_size;
};

/* The file's end with its short last cluster filled up: what lies between reads as zeros. */
uint64_t q2_image_readable_end(const struct qcow2_image *image);

/* Reads size bytes at offset; bytes past the end of the file are zeros. */
int q2_image_read_padded(const struct qcow2_image *image, uint64_t offset, void *buffer,
			 size_t size, struct qcow2_error *err);

/*
 * A window onto [.., end) that slides forward: bytes asked for are there in one piece. It reads in
 * pieces, each byte once as long as offsets rise, and never past end.
 */
struct q2_window {
	const struct qcow2_image *image;
	uint8_t *buffer;
	size_t capacity;
	uint64_t start; /* host offset of buffer[0] */
	size_t filled;
	uint64_t end; /* nothing is read from here on */
};

#define Q2_WINDOW_BYTES (128 * 1024)
/* Holds the longest entry in one piece: a snapshot of 40 + 4096 + 2 * 65535 bytes. */
#define Q2_WINDOW_ENTRY_BYTES (136 * 1024)

/* False if memory is short. */
bool q2_window_init(struct q2_window *window, const struct qcow2_image *image, size_t capacity);
void q2_window_release(struct q2_window *window);

/* Starts anew: the window may show [offset, end) now. */
void q2_window_begin(struct q2_window *window, uint64_t offset, uint64_t end);

/*
 * Makes size bytes (at most the capacity) at offset visible; *view gets those that lie before end,
 * maybe fewer. Returns 0, or -1 with *err filled.
 */
int q2_window_view(struct q2_window *window, uint64_t offset, size_t size, struct qcow2_bytes *view,
		   struct qcow2_error *err);

/* How much of a disk bitmaps track: QEMU's disks are whole sectors. */
static inline uint64_t q2_tracked_bytes(const struct qcow2_geometry *geometry)
{
	return geometry->virtual_size_bytes & ~UINT64_C(511);
}

/*
 * Makes an iterator that has not moved go on behind what the extension says of the directory's size
 * and count, for a caller who knows where to stop.
 */
void q2_bitmaps_go_beyond(struct qcow2_bitmaps *bitmaps);

/* Moves an iterator over zeros, eight at a time, but not behind so many bytes of the directory. */
int q2_bitmaps_skip_zeros(struct qcow2_bitmaps *bitmaps, uint64_t most_used_bytes,
			  struct qcow2_error *err);

#endif
