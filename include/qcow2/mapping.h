/* SPDX-License-Identifier: MIT */
/*
 * Guest extents: what each byte of a virtual disk is, and where the image keeps it ("Cluster
 * mapping", "Standard Cluster Descriptor", "Compressed Clusters Descriptor", "Extended L2
 * Entries").
 *
 * A mapping is a stream over one L1 table, that of the active image or that of a snapshot. It gives
 * the extents of a range of the disk in rising order, without gaps, each as long as it can be. No
 * guest data is read, and no other file is opened: not the backing file, not an external data file.
 *
 * Costs. A stream takes about 220 KiB of memory whatever the image holds. It reads the parts of the
 * L1 table and of the L2 tables that the file stores, each once; holes of the file cost one system
 * call each. A hostile image may lead many L1 entries to one L2 table. Tables that only say
 * "unallocated" or "zero" are remembered and passed in one step. For all others there is a limit:
 * the L2 entries that are decoded for one range take at most 16 times the bytes that the file
 * stores, plus 64 MiB; then qcow2_mapping_next() fails with QCOW2_ERROR_LIMIT. Of a cluster whose
 * subclusters differ, each part but the last counts as 4 bytes more. A well-formed L1 table refers
 * to each L2 table once, and never comes near.
 *
 * Prints the data of the first MiB:
 *
 *	struct qcow2_mapping *mapping;
 *	const struct qcow2_mapping_extent *extent;
 *	int more = -1;
 *
 *	if (qcow2_mapping_open(image, &mapping, &err) == 0) {
 *		qcow2_mapping_seek(mapping, (struct qcow2_guest){0}, 1 << 20);
 *		while ((more = qcow2_mapping_next(mapping, &extent, &err)) > 0)
 *			if (extent->kind == QCOW2_L2_DATA)
 *				printf("%#" PRIx64 " at %#" PRIx64 ", %" PRIu64 "\n",
 *				       extent->start.byte, extent->host.byte,
 *				       extent->length_bytes);
 *		qcow2_mapping_close(mapping);
 *	}
 *	if (more < 0)
 *		fprintf(stderr, "%s\n", err.text);
 *
 * Threads: a stream is used by one thread at a time. Several streams of one image may be used at
 * once.
 */
#ifndef QCOW2_MAPPING_H
#define QCOW2_MAPPING_H

#include <qcow2/base.h>
#include <qcow2/entry.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- what each byte of a virtual disk is, and where it is kept ---- */

/*
 * The kinds of extents are those of L2 entries (entry.h). Seen by the guest:
 *
 *   QCOW2_L2_UNALLOCATED     The image says nothing: the guest reads the backing file, or zeros if
 *                            there is none or where the backing file has ended. With extended L2
 *                            entries, the cluster around an unallocated subcluster may have a place
 *                            in the file all the same; then host says where a write would go.
 *   QCOW2_L2_ZERO            Reads as zeros. No host cluster belongs to it.
 *   QCOW2_L2_ZERO_ALLOCATED  Reads as zeros. A host cluster is kept for it, whose bytes mean
 *                            nothing.
 *   QCOW2_L2_DATA            The guest's data is in the host clusters from the member host on.
 *   QCOW2_L2_COMPRESSED      The data of one guest cluster, compressed, from the member host on.
 *   QCOW2_L2_INVALID         A table entry breaks a rule that leaves no safe answer: its offset is
 *                            not aligned, lies past the end of the file, or contradicts other
 *                            bits. The member problem says which rule. Programs fail to read here,
 *                            or one reads what another does not. Reserved bits alone make nothing
 *                            invalid.
 */

/* One extent. The stream owns it, until the next call on the stream: copy what you keep. */
struct qcow2_mapping_extent {
	size_t size; /* set by the library */
	/* The first byte of the extent, and how many bytes follow it. length_bytes is never 0. */
	struct qcow2_guest start;
	uint64_t length_bytes;
	enum qcow2_l2_kind kind;
	/* Of kind INVALID: the rule that is broken. Of other kinds QCOW2_PROBLEM_NONE. */
	enum qcow2_problem_id problem;
	/*
	 * Of kinds DATA and ZERO_ALLOCATED, and of unallocated subclusters of a cluster that has a
	 * place: where the byte `start` lies. The bytes after it follow without a gap. Of kind
	 * COMPRESSED: where the compressed data of the whole guest cluster starts, in bytes, not
	 * aligned. Else QCOW2_NO_OFFSET. An offset into the image file; of images with an external
	 * data file (struct qcow2_geometry, data_file), into that. Where there is no data, it may
	 * lie past the end of the file (QCOW2_PROBLEM_ZERO_BEYOND_END). The first cluster of a data
	 * file is no place for zeros, as QEMU sees none there: such an entry is of kind ZERO, unless
	 * entries are extended.
	 */
	struct qcow2_host host;
	/*
	 * How many bytes from host on belong to the extent: length_bytes, and for compressed data
	 * all bytes that the descriptor claims. These end with a sector of 512 bytes; what is
	 * compressed may end before, and the file may end within the last sector. 0 if host is
	 * QCOW2_NO_OFFSET.
	 */
	uint64_t host_bytes;
	/*
	 * The raw entry of the first cluster, in host byte order: its L2 entry, and the second half
	 * of an extended one (else 0). Where there is no L2 table, entry is the L1 entry, and 0
	 * where there is no L1 entry either.
	 */
	uint64_t entry;
	uint64_t subclusters;
	/* Where entry lies in the image file; QCOW2_NO_OFFSET if no table reaches here. */
	struct qcow2_host entry_at;
};

struct qcow2_mapping;

/*
 * Opens a stream over the active L1 table. It shows the whole disk, from 0 to the virtual size.
 *
 * image: stays open until the stream is closed, and is not changed meanwhile.
 * *out: set on success; the caller closes it with qcow2_mapping_close().
 *
 * An L1 table that is shorter than the disk is no error: the rest of the disk is unallocated. If
 * the table is not aligned to a cluster, or the end of the file cuts it off, what the missing
 * entries would map is invalid (problem l1-offset-unaligned or l1-beyond-end).
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_BROKEN       the geometry is insane, see qcow2_image_geometry()
 *   QCOW2_ERROR_UNSUPPORTED  an unknown incompatible feature: nobody here knows what it changes
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_mapping_open(const struct qcow2_image *image, struct qcow2_mapping **out,
				 struct qcow2_error *err);

/*
 * Opens a stream over the L1 table of a snapshot ("Snapshots"). It shows the disk of the snapshot,
 * whose size may differ from that of the active image; the VM state, which lies behind the disk, is
 * not part of it.
 *
 * index: of the snapshot in the order of the table, from 0. image, *out: as qcow2_mapping_open().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND    there is no such snapshot, or the table ends before it
 *   QCOW2_ERROR_BROKEN       the geometry is insane, the snapshot table lies past the end of the
 *                            file, or the entry of the snapshot is cut off
 *   QCOW2_ERROR_UNSUPPORTED  as qcow2_mapping_open()
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_mapping_open_snapshot(const struct qcow2_image *image, uint64_t index,
					  struct qcow2_mapping **out, struct qcow2_error *err);

/*
 * Gives the size of the disk that the stream is about. mapping: not NULL.
 *
 * Returns bytes: any number, not only whole sectors. Never fails.
 */
QCOW2_API uint64_t qcow2_mapping_size_bytes(const struct qcow2_mapping *mapping);

/*
 * Makes the stream show the range [start, start + length_bytes) from now on. The first extent
 * starts at start and the last one ends with the range, also in the middle of a cluster, and
 * whatever was shown before. Never fails and reads nothing. The limit on L2 entries starts anew:
 * it bounds the cost of each range, so that a stream may serve any number of look-ups.
 *
 * mapping: not NULL. start: any byte. length_bytes: any number; the range is cut where the disk
 * ends, and may be empty. UINT64_MAX means the rest of the disk.
 */
QCOW2_API void qcow2_mapping_seek(struct qcow2_mapping *mapping, struct qcow2_guest start,
				  uint64_t length_bytes);

/*
 * Finds the next extent of the range.
 *
 * Extents rise and leave no gaps. Neighbours differ: in their kind, in their problem, in whether
 * they have a place, or because the bytes of the one do not follow those of the other in the file.
 * Each compressed cluster is an extent of its own.
 *
 * *out: points to the extent, which belongs to the stream and lives until the next call on it.
 *
 * Returns 1 with *out set; 0 at the end of the range; or -1 with *err filled. What was found before
 * a fault is told before the fault is. A further call tries again at the same place, and
 * qcow2_mapping_seek() may go on behind it.
 *   QCOW2_ERROR_IO     a table could not be read
 *   QCOW2_ERROR_LIMIT  the source's budget is used up, or the L1 table leads to the same L2 tables
 *                      again and again, see above
 */
QCOW2_API int qcow2_mapping_next(struct qcow2_mapping *mapping,
				 const struct qcow2_mapping_extent **out, struct qcow2_error *err);

/* Closes and frees the stream. mapping: NULL is fine. The image stays open. */
QCOW2_API void qcow2_mapping_close(struct qcow2_mapping *mapping);

/*
 * Names a kind as `qcow2 dump` does: "unallocated", "zero", "zero-allocated", "data", "compressed"
 * or "invalid".
 *
 * kind: of an extent, or what qcow2_l2_classify() and qcow2_subcluster_classify() say of an entry.
 *
 * Returns a constant string, or NULL for a number that is no kind. Pure, thread safe.
 */
QCOW2_API const char *qcow2_l2_kind_name(enum qcow2_l2_kind kind);

QCOW2_END_DECLS

#endif
