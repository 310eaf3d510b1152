/* SPDX-License-Identifier: MIT */
/*
 * The bitmap directory ("Bitmaps extension", "Bitmap directory", "Bitmap table"): which dirty
 * bitmaps an image has, and how much each of them holds. bitmap.h reads bitmaps as ranges of the
 * disk, bitmap_edit.h changes them.
 *
 * Entries have no fixed size and follow each other, so that they can only be found in order. They
 * are read in pieces; memory is bounded whatever the extension claims. Whether they obey the rules
 * of the format is for qcow2_check() and qcow2_bitmap_health_examine() to say.
 *
 *	struct qcow2_bitmaps *bitmaps;
 *	const struct qcow2_bitmap *bitmap;
 *	char name[256];
 *
 *	if (qcow2_bitmaps_open(image, &bitmaps, &err))
 *		return err.code == QCOW2_ERROR_NOT_FOUND ? 0 : -1;
 *	while (qcow2_bitmaps_next(bitmaps, &bitmap, &err) > 0) {
 *		qcow2_text_escape(bitmap->name, name, sizeof(name));
 *		printf("%s: one bit for 2^%u bytes\n", name,
 *		       bitmap->entry.granularity_bits);
 *	}
 *	qcow2_bitmaps_close(bitmaps);
 */
#ifndef QCOW2_BITMAP_DIRECTORY_H
#define QCOW2_BITMAP_DIRECTORY_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/format.h>
#include <qcow2/geometry.h>

QCOW2_BEGIN_DECLS

/* ---- which dirty bitmaps an image has ---- */

/* Bits of flags of struct qcow2_bitmap_dir_entry. */
/* A program has the bitmap in memory, or ended without storing it: its data must not be used. */
#define QCOW2_BITMAP_IN_USE (UINT32_C(1) << 0)
/* The bitmap is enabled: writes of the guest set its bits. */
#define QCOW2_BITMAP_AUTO (UINT32_C(1) << 1)
/* A program that does not know the extra data may use the bitmap all the same. */
#define QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE (UINT32_C(1) << 2)
/* All flags that the specification defines. */
#define QCOW2_BITMAP_FLAGS_KNOWN UINT32_C(0x7)

/*
 * One entry of the directory. It and its views belong to the iterator and live until the next call
 * on that: copy what you keep.
 */
struct qcow2_bitmap {
	size_t size; /* set by the library */
	/* The fixed part, decoded. What the file does not have of it is 0. */
	struct qcow2_bitmap_dir_entry entry;
	/* 0, 1, … in the order of the directory. */
	uint64_t index;
	/* Host offset of the entry, and its size as it claims to be, with padding to 8 bytes. */
	uint64_t offset_bytes;
	uint64_t size_bytes;
	/* The fixed 24 bytes; fewer if the entry is cut. */
	struct qcow2_bytes raw;
	/* At most the first 4096 bytes of it. */
	struct qcow2_bytes extra_data;
	/*
	 * Bytes of the image: not NUL terminated, maybe not text. qcow2_text_escape() makes them
	 * safe.
	 */
	struct qcow2_bytes name;
	/* The 0 to 7 bytes that fill up to a multiple of 8. */
	struct qcow2_bytes padding;
	/* The entry passes the end of the directory or of the file. Nothing can follow. */
	bool cut;
};

struct qcow2_bitmaps;

/*
 * Opens an iterator over the directory that the first bitmaps extension of at least 24 bytes names.
 * Whether the autoclear bit QCOW2_AUTOCLEAR_BITMAPS is set does not matter; if it is not, the
 * bitmaps may be out of date.
 *
 * image: not NULL; stays open until the iterator is closed. *out: set on success; the caller closes
 * it with qcow2_bitmaps_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND  there is no such extension
 *   QCOW2_ERROR_BROKEN     the image has no geometry, or the directory starts past the file's end
 *   QCOW2_ERROR_MEMORY
 * Several iterators over one image may be used at once, each by one thread at a time.
 */
QCOW2_API int qcow2_bitmaps_open(const struct qcow2_image *image, struct qcow2_bitmaps **out,
				 struct qcow2_error *err);

/*
 * Gives the decoded bitmaps extension that the iterator follows: number of bitmaps, offset and size
 * of the directory, as stored. bitmaps: not NULL. The result is never NULL; it belongs to the
 * iterator and lives as long as that does.
 */
QCOW2_API const struct qcow2_bitmaps_extension *
qcow2_bitmaps_header(const struct qcow2_bitmaps *bitmaps);

/*
 * Gives the next entry.
 *
 * bitmaps: not NULL. *out: if the result is 1, points to the entry, which belongs to the iterator
 * and lives until the next call on it; else left alone. Its member entry may be copied and kept.
 *
 * Returns 1; 0 at the end, which is after nb_bitmaps entries, at the end of the directory or of the
 * file, or after an entry that was cut; or -1 with *err filled: QCOW2_ERROR_IO and
 * QCOW2_ERROR_LIMIT as qcow2_source_read().
 */
QCOW2_API int qcow2_bitmaps_next(struct qcow2_bitmaps *bitmaps, const struct qcow2_bitmap **out,
				 struct qcow2_error *err);

/*
 * Says how many bytes of the directory the entries that were given out claim to take, with padding.
 * After the last entry, it should be bitmap_directory_size of the extension. bitmaps: not NULL.
 */
QCOW2_API uint64_t qcow2_bitmaps_used_bytes(const struct qcow2_bitmaps *bitmaps);

/* Closes and frees the iterator. bitmaps: NULL is fine. The image stays open. */
QCOW2_API void qcow2_bitmaps_close(struct qcow2_bitmaps *bitmaps);

/*
 * Says how many entries the table of a bitmap needs for the virtual disk ("Bitmap table"):
 * ceil(ceil(ceil(size / granularity) / 8) / cluster_size), where size is the virtual size in whole
 * sectors of 512 bytes, which is what QEMU tracks.
 *
 * geometry: of the image, not NULL. granularity_bits: binary logarithm of the bytes that a bit
 * stands for, 0 to 63; the result is 0 for larger ones. Never fails. Pure, thread safe.
 */
QCOW2_API uint64_t qcow2_bitmap_table_entries_needed(const struct qcow2_geometry *geometry,
						     unsigned granularity_bits);

/* What a bitmap holds. */
struct qcow2_bitmap_totals {
	/* Entries of the table by kind: with data in the file, all zeros, all ones. */
	uint64_t serialized_entries;
	uint64_t all_zeroes_entries;
	uint64_t all_ones_entries;
	/* Of the file: the clusters of the table and of the data. */
	uint64_t disk_bytes;
	/* How many bits the bitmap has by the virtual size, and how many of these are set. */
	uint64_t bits;
	uint64_t bits_set;
	/* Of the virtual disk, which set bits stand for; the last bit may stand for fewer. */
	uint64_t dirty_bytes;
	/*
	 * Bits past the end are set, which must be 0, and the host offset of the first such byte.
	 */
	bool tail_set;
	uint64_t tail_offset_bytes;
};

/*
 * Reads the table and the data of a bitmap and adds them up. Data in holes of the file and past its
 * end counts as zeros, an entry with both an offset and the all-ones bit as data, reserved bits do
 * not count. So totals can be had of bitmaps that break rules.
 *
 * image: not NULL. entry: of the bitmap, from qcow2_bitmaps_next() or qcow2_bitmap_find().
 * max_read_bytes: bound for the table and for the data that is read; pass what the source stores
 * (qcow2_source_allocated_bytes()) and a bit more, since many entries may lead to the same data.
 * *out: filled on success, else undefined.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_BROKEN  the image has no geometry, granularity_bits is over 63, or the table passes
 *                       the end of the file
 *   QCOW2_ERROR_LIMIT   more than max_read_bytes would be read, or the source's budget is used up
 *   QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY
 * Thread safe.
 */
QCOW2_API int qcow2_bitmap_count(const struct qcow2_image *image,
				 const struct qcow2_bitmap_dir_entry *entry,
				 uint64_t max_read_bytes, struct qcow2_bitmap_totals *out,
				 struct qcow2_error *err);

QCOW2_END_DECLS

#endif
