/* SPDX-License-Identifier: MIT */
/*
 * Dirty bitmaps as what they mean: ranges of the virtual disk ("Bitmaps extension", "Bitmap data").
 * Streams: memory does not depend on the size of the disk or of the bitmap.
 */
#ifndef QCOW2_BITMAP_H
#define QCOW2_BITMAP_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* A range of the virtual disk that is dirty or clean throughout. */
struct qcow2_dirty_extent {
	uint64_t start_bytes;
	uint64_t length_bytes;
	bool dirty;
};

struct qcow2_dirty_extents;

/*
 * The ranges of a bitmap, in order, from 0 to the virtual size, cut to whole sectors of 512 bytes,
 * without gaps; neighbours differ. entry is copied. Data in holes of the file reads as zeros.
 * lenient: table entries that are missing, and data past the end of the file, count as zeros, too;
 * else they are errors, as what was dirty there is lost.
 *
 * Returns 0 and sets *out (close it with qcow2_dirty_extents_close()), or -1 with *err filled:
 * QCOW2_ERROR_BROKEN (the geometry is insane, granularity over 63; unless lenient, the table has
 * not as many entries as the disk needs, or is cut by the end of the file), QCOW2_ERROR_LIMIT (the
 * table is larger than what the file stores), QCOW2_ERROR_MEMORY.
 * An image may be read by several of them, each used by one thread at a time.
 */
QCOW2_API int qcow2_dirty_extents_open(const struct qcow2_image *image,
				       const struct qcow2_bitmap_dir_entry *entry, bool lenient,
				       struct qcow2_dirty_extents **out, struct qcow2_error *err);

enum qcow2_dirty_extents_operation {
	QCOW2_DIRTY_EXTENTS_UNION,     /* dirty in any */
	QCOW2_DIRTY_EXTENTS_INTERSECT, /* dirty in all */
	QCOW2_DIRTY_EXTENTS_SUBTRACT,  /* dirty in the first and in none of the others */
};

/*
 * The ranges of several, of disks of the same size, combined; parts is copied, what it points to is
 * owned by *out from then on, also if the call fails. count is at least 1. Errors:
 * QCOW2_ERROR_ARGUMENT (sizes differ), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_dirty_extents_combine(enum qcow2_dirty_extents_operation operation,
					  struct qcow2_dirty_extents *const *parts, size_t count,
					  struct qcow2_dirty_extents **out,
					  struct qcow2_error *err);

/* The size of the disk that the ranges cover. */
QCOW2_API uint64_t qcow2_dirty_extents_size_bytes(const struct qcow2_dirty_extents *extents);

/*
 * The next range: 1 and *out filled, 0 after the last, -1 with *err filled: QCOW2_ERROR_BROKEN (a
 * table entry that cannot be understood: reserved bits, or an offset and all ones; unless the
 * stream is lenient, one that leads past the end of the file, or not to a cluster),
 * QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT.
 */
QCOW2_API int qcow2_dirty_extents_next(struct qcow2_dirty_extents *extents,
				       struct qcow2_dirty_extent *out, struct qcow2_error *err);

/* NULL is fine. */
QCOW2_API void qcow2_dirty_extents_close(struct qcow2_dirty_extents *extents);

/*
 * The entry of a bitmap by its name. Errors: QCOW2_ERROR_NOT_FOUND, QCOW2_ERROR_ARGUMENT (several
 * have it), those of qcow2_bitmaps_open() and qcow2_bitmaps_next().
 */
QCOW2_API int qcow2_bitmap_find(const struct qcow2_image *image, struct qcow2_bytes name,
				struct qcow2_bitmap_dir_entry *out, struct qcow2_error *err);

/*
 * Puts "bitmap 'NAME': " before the text of an error; the name is made safe to print, and cut.
 * Nothing happens if err is NULL. May be called from several threads, as all that is not about an
 * image or a stream.
 */
QCOW2_API void qcow2_bitmap_error(struct qcow2_error *err, struct qcow2_bytes name);

/* ---- what is wrong with bitmaps ---- */

struct qcow2_bitmap_health;

/*
 * Looks at the bitmaps of an image one after another, with the rules of qcow2_check(), but at
 * nothing else of the image. Errors: QCOW2_ERROR_BROKEN (the geometry is insane),
 * QCOW2_ERROR_MEMORY. To be used by one thread at a time.
 */
QCOW2_API int qcow2_bitmap_health_open(const struct qcow2_image *image,
				       struct qcow2_bitmap_health **out, struct qcow2_error *err);

/*
 * Tells what is wrong with one bitmap, which an iterator over the directory has just given: its
 * entry, its table, the bits past its end. Bitmaps that were looked at before are remembered, to
 * find equal names and shared tables. Errors: QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT,
 * QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_bitmap_health_examine(struct qcow2_bitmap_health *health,
					  const struct qcow2_bitmap *bitmap,
					  qcow2_problem_callback problem, void *opaque,
					  struct qcow2_error *err);

/* NULL is fine. */
QCOW2_API void qcow2_bitmap_health_close(struct qcow2_bitmap_health *health);

QCOW2_END_DECLS

#endif
