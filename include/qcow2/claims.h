/* SPDX-License-Identifier: MIT */
/*
 * Claims: who uses which bytes of the image file. One walk goes through all metadata and tells a
 * callback of every use: "bytes 0x50000 to 0x5ffff are the guest's data, mapped by entry 0 of L2
 * table 0 of the active image". Whoever has to know what a cluster is for, where something lies, or
 * whether two things share bytes, listens to this walk and keeps what it needs. The check counts
 * references with it, and names the owners of clusters that are wrong.
 */
#ifndef QCOW2_CLAIMS_H
#define QCOW2_CLAIMS_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- who uses which bytes of the image file ---- */

/* Memory limit of a walk that names none, in bytes. */
#define QCOW2_CLAIMS_MEMORY_BYTES (UINT64_C(1) << 30)

/* What the bytes of a claim are. The comment says which of a claim's indexes are meant. */
enum qcow2_claim_part {
	QCOW2_CLAIM_HEADER = 0, /* the first cluster, with the header extensions */
	QCOW2_CLAIM_L1_TABLE = 1,
	QCOW2_CLAIM_REFCOUNT_TABLE = 2,
	QCOW2_CLAIM_REFCOUNT_BLOCK = 3, /* index: in the refcount table */
	QCOW2_CLAIM_SNAPSHOT_TABLE = 4,
	QCOW2_CLAIM_BITMAP_DIRECTORY = 5,
	QCOW2_CLAIM_BITMAP_TABLE = 6,
	QCOW2_CLAIM_BITMAP_DATA = 7, /* index: in the bitmap's table */
	QCOW2_CLAIM_LUKS = 8,        /* the area of the encryption header */
	QCOW2_CLAIM_L2_TABLE = 9,    /* index: in the L1 table */
	QCOW2_CLAIM_DATA = 10,       /* index: in the L1 table, entry: in the L2 table */
};

/*
 * What a reference means for the cluster's refcount and copied flag ("Cluster mapping"). Guest data
 * may be shared by any number of references, and so may the host clusters that compressed clusters
 * touch; two uses of different kinds, or two of METADATA, contradict each other. The values are
 * stable and fit three bits.
 */
enum qcow2_claim_use {
	QCOW2_USE_NONE = 0, /* never told */
	QCOW2_USE_DATA = 1, /* guest data of snapshots alone: the copied flag means nothing */
	QCOW2_USE_DATA_COPIED = 2, /* guest data of the active image, copied flag set */
	QCOW2_USE_DATA_SHARED = 3, /* guest data of the active image, copied flag clear */
	QCOW2_USE_METADATA = 4,    /* any other structure; L2 tables of snapshots alone */
	QCOW2_USE_L2_COPIED = 5,   /* an L2 table of the active image, copied flag set */
	QCOW2_USE_L2_SHARED = 6,   /* an L2 table of the active image, copied flag clear */
	QCOW2_USE_COMPRESSED = 7,  /* a compressed cluster: bytes, not clusters */
};

/*
 * Bytes of the file that something uses. The library owns it, for the time of the callback. Members
 * that have no meaning for a part are 0.
 */
struct qcow2_claim {
	size_t size; /* set by the library */
	/*
	 * The bytes [offset_bytes, offset_bytes + length_bytes) of the file, as the metadata says:
	 * the sum may pass the end of the file, or 2^64, in a broken image. A structure's length is
	 * that of its contents; what is left of its last cluster is not claimed. length_bytes is 0
	 * for a table without entries.
	 */
	uint64_t offset_bytes;
	uint64_t length_bytes;
	/* The number of references that are told at once, at least 1: see qcow2_claims_walk(). */
	uint64_t weight;
	enum qcow2_claim_use use;
	enum qcow2_claim_part part;
	/* What the structure belongs to: the active image, a snapshot or a bitmap. */
	enum qcow2_part_of part_of;
	uint64_t part_of_index; /* of that snapshot or bitmap, in its table */
	uint64_t index, entry;  /* see enum qcow2_claim_part */
	/*
	 * Of data, L2 and L1 tables: which part of the virtual disk they map, of the active image
	 * or of the snapshot. It ends where that disk does. What lies past the end altogether is
	 * told as well; in a snapshot, that is the saved state of the machine. has_guest is false
	 * if no offset of 64 bits can say where the part is, or if a table has no entries.
	 */
	bool has_guest;
	uint64_t guest_byte;
	uint64_t guest_length_bytes;
};

/* How to walk. The caller owns it and sets size; zeros in the other members are a good choice. */
struct qcow2_claims_options {
	size_t size;                 /* sizeof(struct qcow2_claims_options) */
	uint64_t memory_limit_bytes; /* 0: QCOW2_CLAIMS_MEMORY_BYTES */
	/* Leaves out QCOW2_CLAIM_DATA, so that no L2 table is read: far fewer bytes. */
	bool without_data;
};

/*
 * Goes through the metadata of image and calls claim for each use of bytes of the file.
 *
 * Order: header, L1 table, refcount table, LUKS area; then for each snapshot its L1 table, and the
 * snapshot table; the bitmap directory, and for each bitmap its table and the data of its entries
 * in order; refcount blocks in the order of the refcount table; all L2 tables in the order of their
 * offsets; last, for each L2 table in that order, the clusters of its entries. The order depends on
 * the image alone.
 *
 * Weights: an L2 table to which many L1 entries lead, such as one that snapshots share, is told
 * once with their number as weight, and so are its clusters. Its part_of and index are those of the
 * first of these entries, the active image before snapshots. A claim of weight n stands for n
 * references, as a refcount counts them ("Host cluster management"). If L1 tables of two snapshots
 * overlap without being the same, their common entries count once.
 *
 * Not told: clusters of an external data file, which are not in this file; bitmaps, if the
 * autoclear bit says that they may not be trusted; the bytes of a backing file's name, which are
 * part of the header's cluster; clusters that nothing uses.
 *
 * Hostile images: every entry of every table is told as it stands, so that offsets may be unaligned
 * or beyond the end, and claims may overlap; the callback has to bear that. Entries of tables
 * beyond the end of the file are not there. L2 tables, refcount blocks and bitmap data that start
 * beyond the end, and refcount blocks that are unaligned, are not told. How many claims there are
 * is bounded by the bytes that the file stores: holes are skipped, an L2 table is read once, and
 * bitmap tables that share one place are followed for as many bytes as the file stores and 1 MiB
 * more. Unaligned L2 tables may overlap: they are told until what they repeat of others comes to as
 * many bytes as the file stores and 64 MiB more.
 *
 * Memory: 40 bytes for each L1 entry that leads to an L2 table, 56 for each snapshot, and a buffer
 * of 256 KiB and a cluster, within options->memory_limit_bytes.
 *
 * options may be NULL; claim may not. It is called in the calling thread with opaque and a claim
 * that is valid during the call, and returns 0 to go on, or anything else to stop.
 *
 * Returns 0 once everything was told, or -1 with *err filled (err may be NULL):
 *   QCOW2_ERROR_STOPPED      claim has stopped the walk
 *   QCOW2_ERROR_ARGUMENT     size of the options is not set, or they ask for what is not known here
 *   QCOW2_ERROR_BROKEN       the header's cluster size or refcount width is insane
 *   QCOW2_ERROR_UNSUPPORTED  an unknown incompatible feature: nobody here knows what it changes
 *   QCOW2_ERROR_IO           metadata cannot be read
 *   QCOW2_ERROR_LIMIT        the memory limit, or the source's budget
 *   QCOW2_ERROR_MEMORY
 * Claims that were told before an error stay valid. May be called from several threads at once, for
 * the same image, too.
 *
 * Example, the host cluster at 0x50000:
 *
 *     static int tell(void *opaque, const struct qcow2_claim *claim)
 *     {
 *             uint64_t wanted = *(uint64_t *)opaque;
 *             char where[QCOW2_CLAIM_WHERE_MAX];
 *
 *             if (wanted >= claim->offset_bytes &&
 *                 wanted - claim->offset_bytes < claim->length_bytes)
 *                     puts(qcow2_claim_where(claim, where, sizeof(where)));
 *             return 0;
 *     }
 *
 *     uint64_t wanted = 0x50000;
 *     if (qcow2_claims_walk(image, NULL, tell, &wanted, &err))
 *             fprintf(stderr, "%s\n", err.text);
 */
QCOW2_API int qcow2_claims_walk(const struct qcow2_image *image,
				const struct qcow2_claims_options *options,
				int (*claim)(void *opaque, const struct qcow2_claim *claim),
				void *opaque, struct qcow2_error *err);

/* Room for the path of any claim and its NUL. */
#define QCOW2_CLAIM_WHERE_MAX QCOW2_OWNER_WHERE_MAX

/*
 * Writes the path of what claims the bytes into text, as a selector of qcow2_walk() would spell it:
 * "header", "l2/0/3", "snapshots/1/l1", "bitmaps/0/table/7". ASCII; cut to size_bytes - 1
 * characters and NUL terminated; empty for a part that this version does not know. size_bytes is at
 * least 1. Returns text. Never fails; thread safe.
 */
QCOW2_API const char *qcow2_claim_where(const struct qcow2_claim *claim, char *text,
					size_t size_bytes);

/*
 * Names a part: "header", "l1-table", "refcount-table", "refcount-block", "snapshot-table",
 * "bitmap-directory", "bitmap-table", "bitmap-data", "luks", "l2-table" or "data".
 *
 * Returns a constant string, or NULL for a number that is no part. Pure, thread safe.
 */
QCOW2_API const char *qcow2_claim_part_name(enum qcow2_claim_part part);

QCOW2_END_DECLS

#endif
