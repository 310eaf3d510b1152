/* SPDX-License-Identifier: MIT */
/* The image as the files of this room see it, and the window through which they read. */
#ifndef Q2_IMAGE_INTERNAL_H
#define Q2_IMAGE_INTERNAL_H

#include <qcow2/image.h>

struct qcow2_image {
	struct qcow2_source *source;
	struct qcow2_header header;
	struct qcow2_geometry geometry;
	bool sane; /* the header's numbers allow a geometry, and it is filled */
	uint8_t *first;
	size_t first_size;
};

/*
 * As qcow2_image_open(), for a caller that has read the first bytes of the source already: all of
 * them, or at least 512.
 */
int q2_image_open_started(struct qcow2_source *source, struct qcow2_bytes start,
			  struct qcow2_image **out, struct qcow2_error *err);

/*
 * Checks that what the header leads to means what it says. Returns 0, or -1 with *err filled:
 * QCOW2_ERROR_BROKEN without a geometry, QCOW2_ERROR_UNSUPPORTED with an unknown incompatible
 * feature, as nobody here knows what that changes.
 */
int q2_image_check_known(const struct qcow2_image *image, struct qcow2_error *err);

/*
 * Rounds the file's size up to whole clusters. A file may end within its last cluster, and QEMU
 * reads the rest of that cluster as zeros, so tables may reach up to here.
 */
uint64_t q2_image_readable_end(const struct qcow2_image *image);

/* Reads size bytes at host offset `offset`. Bytes past the end of the file are zeros. */
int q2_image_read_padded(const struct qcow2_image *image, uint64_t offset, void *buffer,
			 size_t size, struct qcow2_error *err);

/*
 * A window onto a range of the file. It slides forward over the range and shows any bytes that fit
 * its buffer in one piece. It reads ahead, each byte once as long as offsets rise, and never past
 * the end of the range.
 */
struct q2_window {
	const struct qcow2_image *image;
	uint8_t *buffer;
	size_t capacity;
	uint64_t start; /* host offset of buffer[0] */
	size_t filled;
	uint64_t end; /* nothing is read from here on */
	/*
	 * A power of two: reads end at a multiple of it, so that a look-up reads little, and a sector
	 * that fails hides no other. 0: reads are as long as the buffer is.
	 */
	size_t piece;
};

#define Q2_WINDOW_BYTES (128 * 1024)
/* The most bytes of the extra data of a snapshot or bitmap that are shown. */
#define Q2_EXTRA_SHOWN 4096
/* Holds the longest entry in one piece: a snapshot of 40 + Q2_EXTRA_SHOWN + 2 * 65535 bytes. */
#define Q2_WINDOW_ENTRY_BYTES (136 * 1024)

/* False if memory is short. */
bool q2_window_init(struct q2_window *window, const struct qcow2_image *image, size_t capacity);
void q2_window_release(struct q2_window *window);

/* Points the window at the range [offset, end), and forgets what it has read. */
void q2_window_begin(struct q2_window *window, uint64_t offset, uint64_t end);

/*
 * Shows size bytes (at most the capacity) at host offset `offset` in *view, which is cut where the
 * range ends. The view lives until the next call. Returns 0, or -1 with *err filled.
 */
int q2_window_view(struct q2_window *window, uint64_t offset, size_t size, struct qcow2_bytes *view,
		   struct qcow2_error *err);

/*
 * The bytes of a disk that bitmaps track. QEMU cuts its disks to whole sectors, and so do bitmaps.
 */
static inline uint64_t q2_tracked_bytes(const struct qcow2_geometry *geometry)
{
	return geometry->virtual_size_bytes & ~UINT64_C(511);
}

/*
 * Lets an iterator that has not moved go past the size and the count of the bitmaps extension. A
 * repair uses it to find entries that a damaged extension hides; it has to decide where to stop.
 */
void q2_bitmaps_go_beyond(struct qcow2_bitmaps *bitmaps);

/*
 * Skips zeros in steps of 8 bytes, the alignment of entries, as long as qcow2_bitmaps_used_bytes()
 * does not exceed most_used_bytes.
 */
int q2_bitmaps_skip_zeros(struct qcow2_bitmaps *bitmaps, uint64_t most_used_bytes,
			  struct qcow2_error *err);

#endif
