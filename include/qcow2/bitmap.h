/* SPDX-License-Identifier: MIT */
/*
 * Dirty bitmaps as what they mean: ranges of the virtual disk that were written ("Bitmaps
 * extension", "Bitmap data"). Ranges come as streams: memory depends neither on the size of the
 * disk nor on that of the bitmap. Which bitmaps an image has, qcow2_bitmaps_open() of image.h
 * tells; how they are changed, bitmap_edit.h.
 *
 * What an incremental backup has to copy:
 *
 *         if (qcow2_bitmap_find(image, name, &entry, &err) == 0 &&
 *             qcow2_dirty_extents_open(image, &entry, 0, &extents, &err) == 0) {
 *                 while ((more = qcow2_dirty_extents_next(extents, &extent,
 *                                                         &err)) > 0)
 *                         if (extent.dirty)
 *                                 copy(extent.start_bytes, extent.length_bytes);
 *                 qcow2_dirty_extents_close(extents);
 *         }
 *
 * A bitmap that is in use, or in an image whose bitmaps bit is clear, was not saved and may miss
 * writes. Nothing here refuses it: see qcow2_bitmap_health_examine(). examples/dirty_extents.c is a
 * whole program.
 *
 * An image may be read by several streams and threads at once. A stream, or an object that looks at
 * bitmaps, may be used by one thread at a time.
 */
#ifndef QCOW2_BITMAP_H
#define QCOW2_BITMAP_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- ranges of the disk that a dirty bitmap calls dirty ---- */

/*
 * A range of the virtual disk that is dirty or clean throughout. The caller owns it. This structure
 * never changes.
 */
struct qcow2_dirty_extent {
	uint64_t start_bytes;  /* offset in the virtual disk */
	uint64_t length_bytes; /* never 0 */
	bool dirty;
};

struct qcow2_dirty_extents;

/* How to read a bitmap; combined with |. */
enum qcow2_dirty_extents_flags {
	/*
	 * Table entries that are missing, and data past the end of the file, count as clean. Without
	 * this flag they are errors, as what was dirty there is lost.
	 */
	QCOW2_DIRTY_EXTENTS_LENIENT = 1 << 0,
};

/*
 * Opens the stream of the ranges of one bitmap: in order, from 0 to the virtual size, cut to whole
 * sectors of 512 bytes, without gaps; neighbours differ in being dirty. Clusters of bitmap data
 * that are a hole of the file read as clean.
 *
 * image: stays the caller's, who keeps it open as long as the stream. Its geometry is sane.
 * entry: of the bitmap, from qcow2_bitmaps_next() or qcow2_bitmap_find(); copied.
 * flags: of enum qcow2_dirty_extents_flags, or 0.
 * *out: set to the stream; the caller closes it with qcow2_dirty_extents_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_BROKEN    the geometry is insane, or granularity_bits is over 63; unless lenient,
 *                         the table has not as many entries as the disk needs, or is cut by the end
 *                         of the file
 *   QCOW2_ERROR_LIMIT     the table is larger than what the file stores
 *   QCOW2_ERROR_ARGUMENT  an unknown flag
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_dirty_extents_open(const struct qcow2_image *image,
				       const struct qcow2_bitmap_dir_entry *entry, unsigned flags,
				       struct qcow2_dirty_extents **out, struct qcow2_error *err);

/* How streams are combined. */
enum qcow2_dirty_extents_operation {
	QCOW2_DIRTY_EXTENTS_UNION = 0,     /* dirty in any */
	QCOW2_DIRTY_EXTENTS_INTERSECT = 1, /* dirty in all */
	QCOW2_DIRTY_EXTENTS_SUBTRACT = 2,  /* dirty in the first and in none of the others */
};

/*
 * Combines several streams into one, bit by bit as they are read: for a backup since the older of
 * two bitmaps, or to compare two. The streams may come from different images.
 *
 * operation: see enum qcow2_dirty_extents_operation.
 * parts: count streams over disks of the same size, none of which was read yet. The array is
 *   copied; the streams belong to *out from then on, and are closed with it. If the call fails,
 *   they are closed, too.
 * count: at least 1.
 * *out: set to the stream; the caller closes it with qcow2_dirty_extents_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (sizes differ, count is 0, or operation is
 * none of the three), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_dirty_extents_combine(enum qcow2_dirty_extents_operation operation,
					  struct qcow2_dirty_extents *const *parts, size_t count,
					  struct qcow2_dirty_extents **out,
					  struct qcow2_error *err);

/*
 * Tells the size of the disk that the ranges of a stream cover: the virtual size, cut to whole
 * sectors.
 *
 * Returns it in bytes. Never fails.
 */
QCOW2_API uint64_t qcow2_dirty_extents_size_bytes(const struct qcow2_dirty_extents *extents);

/*
 * Reads the next range of a stream.
 *
 * *out: set to the range.
 *
 * Returns 1 for a range, 0 behind the last one, or -1 with *err filled:
 *   QCOW2_ERROR_BROKEN  a table entry makes no sense: reserved bits are set, or both an offset and
 *                       all ones; unless lenient, it leads past the end of the file, or not to a
 *                       cluster
 *   QCOW2_ERROR_IO      bitmap data cannot be read
 *   QCOW2_ERROR_LIMIT   entries share data so often that it would be read more often than the file
 *                       is large; or the read budget of the source is used up
 * After an error the stream can only be closed.
 */
QCOW2_API int qcow2_dirty_extents_next(struct qcow2_dirty_extents *extents,
				       struct qcow2_dirty_extent *out, struct qcow2_error *err);

/*
 * Reads several ranges of a stream at once, which costs less where there are many millions.
 *
 * out: room for `most` ranges, at least 1.
 * *count: set to the number of ranges that out has now, 1 to most.
 *
 * Returns 1, 0 behind the last range, or -1 with *err filled, as qcow2_dirty_extents_next() does.
 * An error is told once the ranges before it were read.
 */
QCOW2_API int qcow2_dirty_extents_take(struct qcow2_dirty_extents *extents,
				       struct qcow2_dirty_extent *out, size_t most, size_t *count,
				       struct qcow2_error *err);

/*
 * Closes a stream, and those that were combined to it. extents: may be NULL, then nothing happens.
 */
QCOW2_API void qcow2_dirty_extents_close(struct qcow2_dirty_extents *extents);

/*
 * Finds a bitmap by its name ("Bitmap directory").
 *
 * name: compared byte by byte.
 * *out: set to the entry of the bitmap in the directory, also if the bitmap is damaged or stale.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_NOT_FOUND (there is none of that name),
 * QCOW2_ERROR_ARGUMENT (several have it), the errors of qcow2_bitmaps_open() and
 * qcow2_bitmaps_next(). Reads the directory up to its end.
 */
QCOW2_API int qcow2_bitmap_find(const struct qcow2_image *image, struct qcow2_bytes name,
				struct qcow2_bitmap_dir_entry *out, struct qcow2_error *err);

/*
 * Says in the text of an error which bitmap it is about: puts "bitmap 'NAME': " in front, as the
 * functions of bitmap_edit.h do. A text that grows too long is cut.
 *
 * err: filled by a call that failed. May be NULL, then nothing happens.
 * name: any bytes; made safe to print, and cut.
 *
 * Thread safe.
 */
QCOW2_API void qcow2_bitmap_error(struct qcow2_error *err, struct qcow2_bytes name);

/* ---- what is wrong with dirty bitmaps ---- */

struct qcow2_bitmap_health;

/*
 * Prepares to look at the bitmaps of an image, one after another, with the rules of qcow2_check(),
 * but at nothing else of the image. That takes as long as reading the tables of the bitmaps, where
 * a check reads all metadata.
 *
 * image: stays the caller's, who keeps it open as long as the object.
 * *out: set to the object; the caller closes it with qcow2_bitmap_health_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_BROKEN (the geometry is insane),
 * QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_bitmap_health_open(const struct qcow2_image *image,
				       struct qcow2_bitmap_health **out, struct qcow2_error *err);

/*
 * Tells what is wrong with one bitmap: its entry in the directory, its table, the bits past its
 * end. Bitmaps that were looked at before are remembered, to find equal names and shared tables.
 *
 * bitmap: one that qcow2_bitmaps_next() has just given, of the same image.
 * problem: called for each problem; not NULL.
 * opaque: handed to problem().
 *
 * Returns 0 however many problems there are, or -1 with *err filled: QCOW2_ERROR_STOPPED (problem()
 * asked to stop), QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT (the read budget of the source is used up),
 * QCOW2_ERROR_MEMORY. A bitmap without corruptions whose flag in_use is clear, in an image whose
 * bitmaps bit is set, can be relied on.
 */
QCOW2_API int qcow2_bitmap_health_examine(struct qcow2_bitmap_health *health,
					  const struct qcow2_bitmap *bitmap,
					  qcow2_problem_callback problem, void *opaque,
					  struct qcow2_error *err);

/*
 * Closes what qcow2_bitmap_health_open() made; the image stays open. health: may be NULL, then
 * nothing happens.
 */
QCOW2_API void qcow2_bitmap_health_close(struct qcow2_bitmap_health *health);

QCOW2_END_DECLS

#endif
