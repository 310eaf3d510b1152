/* SPDX-License-Identifier: MIT */
/*
 * Measuring: how large image files are, were or will be, without making them.
 *
 * There are three questions, and a function for each:
 *
 *   - A new image: which size has the file that a copy of this data makes, and which size can it
 *     grow to? Ranges of data go into a tally, qcow2_measure_new() answers. It gives the numbers of
 *     `qemu-img measure`, and the size of the smallest file that can hold the same.
 *   - This image, with all that it keeps: qcow2_measure_file() tells how small its file could be
 *     with and without its snapshots and bitmaps, and how large it can grow.
 *   - A base that takes in an overlay (`qemu-img commit`): qcow2_measure_commit() tells which size the
 *     base may grow to, and so which size a logical volume needs before.
 *
 * All sizes are in bytes and whole clusters, as a block device has to provide them. No guest data is
 * read: data that consists of zeros counts as data, while `qemu-img convert` looks at it and leaves
 * it out. docs/measure.md has all such terms.
 *
 * The size of a copy of an image with clusters of 64 KiB:
 *
 *	struct qcow2_measure_target target = {.size = sizeof(target)};
 *	struct qcow2_measure_size size = {.size = sizeof(size)};
 *	struct qcow2_measure_tally tally = {.size = sizeof(tally)};
 *
 *	if (qcow2_measure_tally_begin(&tally, &target, &err) == 0 &&
 *	    qcow2_measure_tally_mapping(&tally, mapping, &err) == 0 &&
 *	    qcow2_measure_new(&target, qcow2_mapping_size_bytes(mapping),
 *			      &tally, &size, &err) == 0)
 *		printf("%" PRIu64 " to %" PRIu64 "\n", size.smallest_bytes,
 *		       size.fully_allocated_bytes);
 *
 * Threads: no state is shared; each object is used by one thread at a time.
 */
#ifndef QCOW2_MEASURE_H
#define QCOW2_MEASURE_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/mapping.h>
#include <qcow2/usage.h>

QCOW2_BEGIN_DECLS

/* Stands for a size that is larger than any file can be: 2^61 bytes and more. */
#define QCOW2_MEASURE_TOO_LARGE UINT64_MAX

/* ---- how large the file of a new image will be ---- */

/* The image that would be made. Zeros in all members but size are what `qemu-img create` makes. */
struct qcow2_measure_target {
	size_t size;            /* sizeof(struct qcow2_measure_target) */
	unsigned version;       /* 2 or 3; 0: 3 */
	unsigned cluster_bits;  /* 9 to 21; 0: 16 */
	unsigned refcount_bits; /* 1, 2, 4, ... 64; 0: 16. Version 2 has 16 */
	bool extended_l2;       /* version 3 with clusters of at least 16 KiB */
	/* Every cluster counts as data: preallocated data, or a backing file that shares nothing. */
	bool every_cluster;
	/* Data lies in an external file. Then only smallest_bytes is of the image file alone. */
	bool data_file;
	/* Of the area with the encryption header, qcow2_measure_luks_bytes(); 0: not encrypted. */
	uint64_t luks_bytes;
};

/* What a new image takes. The library fills it; the caller sets size. */
struct qcow2_measure_size {
	size_t size; /* sizeof(struct qcow2_measure_size) */
	/*
	 * "required" of `qemu-img measure`: enough for the data. It counts the metadata of a full
	 * disk.
	 */
	uint64_t required_bytes;
	/* "fully-allocated": what the file grows to once every cluster was written. */
	uint64_t fully_allocated_bytes;
	/*
	 * The smallest file that holds the data: of L2 tables only those that map data. This is the
	 * size of what `qemu-img convert` makes, unless the refcount table had to grow.
	 */
	uint64_t smallest_bytes;
};

/*
 * Counts ranges of data in clusters and L2 tables of the target. The caller owns it, sets size, and
 * lets qcow2_measure_tally_begin() fill the rest.
 */
struct qcow2_measure_tally {
	size_t size;            /* sizeof(struct qcow2_measure_tally) */
	uint64_t data_clusters; /* that some range touches */
	uint64_t l2_tables;     /* that map these clusters */
	uint64_t next_cluster;  /* clusters before this one are counted */
	unsigned cluster_bits, l2_bits;
};

/*
 * Starts a tally for a target, with nothing counted. Returns 0, or -1 with *err filled
 * (QCOW2_ERROR_ARGUMENT: there is no such target, see qcow2_measure_new()).
 */
QCOW2_API int qcow2_measure_tally_begin(struct qcow2_measure_tally *tally,
					const struct qcow2_measure_target *target,
					struct qcow2_error *err);

/*
 * Counts the range [start_bytes, start_bytes + length_bytes) of the disk as data. Ranges are added
 * in rising order; they may touch the same cluster, which counts once. Never fails. A range that
 * would pass 2^64 ends there.
 */
QCOW2_API void qcow2_measure_tally_add(struct qcow2_measure_tally *tally, uint64_t start_bytes,
				       uint64_t length_bytes);

/*
 * Counts what a mapping says is data, from where it stands to the end of its range: extents of kind
 * DATA, COMPRESSED and INVALID. Returns 0, or -1 with *err filled as qcow2_mapping_next() does.
 */
QCOW2_API int qcow2_measure_tally_mapping(struct qcow2_measure_tally *tally,
					  struct qcow2_mapping *mapping, struct qcow2_error *err);

/*
 * As qcow2_measure_tally_mapping(), but data that lies in a hole of the file does not count, as for
 * `qemu-img measure` of a preallocated image. Compressed and invalid extents count wherever they
 * are.
 *
 * source: the file that holds the data: that of the image, or its external data file; NULL: all data
 *   counts.
 * *invalid_bytes: set to the guest bytes of kind INVALID among what was counted, also after an error;
 *   NULL is fine.
 *
 * Returns 0, or -1 with *err filled as qcow2_mapping_next() does; the tally then counts what was
 * found before.
 */
QCOW2_API int qcow2_measure_tally_stored(struct qcow2_measure_tally *tally,
					 struct qcow2_mapping *mapping,
					 const struct qcow2_source *source, uint64_t *invalid_bytes,
					 struct qcow2_error *err);

/*
 * Measures a new image.
 *
 * size_bytes: of its disk, any number. tally: of its data, begun with the same target; NULL: there
 * is none. *out: the caller sets size; a file that would pass 2^61 bytes is QCOW2_MEASURE_TOO_LARGE.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_ARGUMENT  size is not set; a number of the target is out of its range; version 2
 *                         with another refcount width than 16; extended L2 entries with clusters
 *                         below 16 KiB; the tally is of another target or passes the disk's end
 *   QCOW2_ERROR_LIMIT     the L1 table of such a disk is larger than QEMU's limit of 32 MiB
 */
QCOW2_API int qcow2_measure_new(const struct qcow2_measure_target *target, uint64_t size_bytes,
				const struct qcow2_measure_tally *tally,
				struct qcow2_measure_size *out, struct qcow2_error *err);

/*
 * Gives the size of the area with a LUKS header and its key slots, rounded up to clusters of the
 * target, for a key of key_bytes: 64 for AES-256 in XTS mode, which is the default of QEMU; 1 to 64.
 *
 * Returns it, or 0 if there is no such target or no such key.
 */
QCOW2_API uint64_t qcow2_measure_luks_bytes(const struct qcow2_measure_target *target,
					    unsigned key_bytes);

/*
 * Gives what `qemu-img measure` calls "bitmaps": what all bitmaps of the image take in a copy with
 * clusters of 1 << cluster_bits (9 to 30), if all their data has to be stored. Bitmaps that are in use
 * count, as they do for QEMU. None counts if the autoclear bit says that they may not be trusted.
 *
 * Returns 0, or -1 with *err filled as qcow2_bitmaps_open() and qcow2_bitmaps_next() do, or
 * QCOW2_ERROR_LIMIT: the size is larger than any file can be. QCOW2_ERROR_ARGUMENT: cluster_bits.
 */
QCOW2_API int qcow2_measure_bitmaps(const struct qcow2_image *image, unsigned cluster_bits,
				    uint64_t *out_bytes, struct qcow2_error *err);

/* ---- how large the file of this image can be ---- */

/*
 * Sizes of this image's file, with the cluster size, the refcount width and the L2 entries that it
 * has. The caller sets size. All but largest_bytes count a new refcount structure, as small as it can
 * be, and no leaks, no free clusters. The LUKS area is kept in all. Broken images may claim what no file can
 * hold: QCOW2_MEASURE_TOO_LARGE.
 */
struct qcow2_measure_image {
	size_t size; /* sizeof(struct qcow2_measure_image) */
	/* The active disk alone: no snapshots, no bitmaps, compressed clusters inflated. */
	uint64_t smallest_bytes;
	/* As smallest_bytes, but compressed clusters stay compressed and lie side by side. */
	uint64_t smallest_compressed_bytes;
	/*
	 * What is used stays as it is (compressed clusters stay compressed, and clusters that are
	 * kept for zeros stay), together with all snapshots and their VM state, all bitmaps, or both.
	 */
	uint64_t with_snapshots_bytes, with_bitmaps_bytes, with_all_bytes;
	/* The active disk alone, every cluster of it written. */
	uint64_t fully_allocated_bytes;
	/*
	 * The most that the file grows to: as it is, with its refcount structure, leaks and free
	 * clusters, and grown until every cluster of the active disk is written. No cluster that is
	 * free now counts as used again. Bitmaps count as they are and once more with all their data.
	 * What the file has behind the end of the image does not count.
	 */
	uint64_t largest_bytes;
	/* By how much a backing file grows at most if this image is committed into it. */
	uint64_t commit_growth_bytes;
	bool has_snapshots, has_bitmaps, has_compressed;
};

/*
 * Measures an image. usage: of the same image, opened with `users`; NULL: it is opened here.
 *
 * Broken images are measured as far as they can be read. Clusters of an external data file do not
 * count.
 *
 * Reads the tables once, and once more if usage is NULL. Returns 0, or -1 with *err filled and *out
 * as it was: the errors of qcow2_usage_open() and qcow2_mapping_next(); QCOW2_ERROR_ARGUMENT: size of
 * *out is not set, or the usage was opened without `users`.
 */
QCOW2_API int qcow2_measure_file(const struct qcow2_image *image, const struct qcow2_usage *usage,
				 struct qcow2_measure_image *out, struct qcow2_error *err);

/*
 * Gives the size of the file with the active disk and one snapshot kept, or one bitmap.
 *
 * usage: of the same image, opened with `users`. user: a number for qcow2_usage_user_at(); 0 is the
 * active disk. *out_bytes: set to the size, or to QCOW2_MEASURE_TOO_LARGE. Reads nothing.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT if there is no such user,
 * QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_measure_kept(const struct qcow2_image *image, const struct qcow2_usage *usage,
				 uint64_t user, uint64_t *out_bytes, struct qcow2_error *err);

/* ---- how large a base grows by a commit ---- */

/*
 * Gives the size that the file of a base grows to at most if it takes in the data of an overlay, as
 * `qemu-img commit` does; so the size that a logical volume needs before.
 *
 * It is an upper bound. Free clusters of the base count as if none was used. If the base has
 * snapshots, each cluster that is written counts as a new one. Zeros take no cluster, but where QEMU
 * copies them: in a base of version 2 or with clusters above 64 KiB, at the ends of a range, and from
 * an overlay with clusters of 512 bytes.
 *
 * base, overlay: two images. That the one is the backing file of the other is not looked at.
 * end_bytes: where the base ends now: the size of its file, or qcow2_usage_end_bytes() on a block
 *   device.
 * *out_bytes: set to the size, in whole clusters of the base, or to QCOW2_MEASURE_TOO_LARGE.
 *
 * Reads the tables of both, with the memory of two mappings. Returns 0, or -1 with *err filled: the
 * errors of qcow2_mapping_open(), qcow2_mapping_next() and qcow2_measure_bitmaps();
 * QCOW2_ERROR_LIMIT: the L1 or the refcount table of the base is larger than QEMU's limit.
 */
QCOW2_API int qcow2_measure_commit(const struct qcow2_image *base,
				   const struct qcow2_image *overlay, uint64_t end_bytes,
				   uint64_t *out_bytes, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
