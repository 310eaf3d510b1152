/* SPDX-License-Identifier: MIT */
/*
 * Locating: where a byte of a virtual disk is, with the path of table entries that leads there; and
 * what a byte of the image file is for, with all its owners.
 *
 * qcow2_paths_*() go from the guest to the file. They are a mapping (mapping.h) with the entries on
 * the way and the refcount. qcow2_pieces_*() go from the file to the guest. They listen to the claims
 * (claims.h) and name each owner of each byte, in every snapshot that shares it. Both work on broken
 * images: what cannot be followed says so.
 *
 * Says who uses the byte at 0x50000 of the file:
 *
 *	struct qcow2_pieces *pieces;
 *	const struct qcow2_piece *piece;
 *	char where[QCOW2_CLAIM_WHERE_MAX];
 *
 *	if (qcow2_pieces_open(image, NULL, &pieces, &err))
 *		return -1;
 *	qcow2_pieces_seek(pieces, (struct qcow2_host){0x50000}, 1);
 *	if (qcow2_pieces_next(pieces, &piece, &err) > 0) {
 *		puts(qcow2_piece_state_name(piece->state));
 *		for (size_t i = 0; i < piece->owner_count; i++)
 *			puts(qcow2_claim_where(piece->owners[i], where,
 *					       sizeof(where)));
 *	}
 *	qcow2_pieces_close(pieces);
 *
 * Threads: a stream is used by one thread at a time. Several streams of one image may be used at
 * once.
 */
#ifndef QCOW2_LOCATE_H
#define QCOW2_LOCATE_H

#include <qcow2/base.h>
#include <qcow2/claims.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/mapping.h>
#include <qcow2/walk.h>

QCOW2_BEGIN_DECLS

/* ---- where a byte of the guest is, and what a byte of the file is for ---- */

/*
 * The refcount of a host cluster, and where it is stored ("Host cluster management"). The library
 * owns it. The path of the refcount is "refcounts/TABLE_INDEX/BLOCK_INDEX", that of the table's entry
 * "refcount_table/TABLE_INDEX".
 */
struct qcow2_refcount_path {
	size_t size; /* set by the library */
	/*
	 * Whether refcount is known. It is not if the table or the block cannot be where the image
	 * says that they are. A cluster that no entry of the table covers, or one that has no block,
	 * has the refcount 0.
	 */
	bool known;
	uint64_t refcount;
	uint64_t table_index; /* in the refcount table */
	/* Where the table's entry lies, and its raw value; QCOW2_NO_OFFSET if there is none. */
	struct qcow2_host table_entry_at;
	uint64_t table_entry;
	uint64_t block_index; /* of the refcount in its block */
	/* The byte with the refcount, or with its bits; QCOW2_NO_OFFSET if there is no block. */
	struct qcow2_host refcount_at;
};

/* ---- where a byte of the guest is in the file ---- */

/*
 * Where a range of a virtual disk is. The library owns it and what it points to, until the next
 * call on the stream.
 */
struct qcow2_path {
	size_t size; /* set by the library */
	/*
	 * What the range is and where it lies: see mapping.h. The raw L2 entry is in it, too. The
	 * entries below are those of its first byte.
	 */
	const struct qcow2_mapping_extent *extent;
	/* The index in the L1 table, where that entry lies, and its raw value. */
	uint64_t l1_index;
	uint64_t l1_entry;
	/* QCOW2_NO_OFFSET if the L1 table does not reach here, or the file ends before. */
	struct qcow2_host l1_entry_at;
	/* The index in the L2 table, in entries, and the table; QCOW2_NO_OFFSET if there is none. */
	uint64_t l2_index;
	struct qcow2_host l2_table;
	/* The subcluster of the first byte, 0 to 31. 0 without extended L2 entries. */
	unsigned subcluster;
	/* The range lies past the end of the disk. A snapshot keeps the state of its machine there. */
	bool past_end;
	/*
	 * The refcount of the first host cluster, which all clusters of the range have that are not
	 * compressed. NULL if the range has no place in the image file.
	 */
	const struct qcow2_refcount_path *refcount;
};

struct qcow2_paths;

/*
 * Opens a stream of paths. It shows nothing yet: begin with qcow2_paths_seek().
 *
 * image: stays open until the stream is closed, and is not changed meanwhile.
 * snapshot: an entry from qcow2_snapshots_next(), which is not kept; NULL: the active image.
 * *out: set on success; the caller closes it with qcow2_paths_close().
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_BROKEN       the geometry is insane, or the entry of the snapshot is cut off
 *   QCOW2_ERROR_UNSUPPORTED  as qcow2_mapping_open()
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_paths_open(const struct qcow2_image *image,
			       const struct qcow2_snapshot *snapshot, struct qcow2_paths **out,
			       struct qcow2_error *err);

/* Gives the size of the disk that the stream is about, in bytes. Never fails. */
QCOW2_API uint64_t qcow2_paths_size_bytes(const struct qcow2_paths *paths);

/*
 * Makes the stream show the range [start, start + length_bytes) from now on. A range that starts
 * within the disk is cut where that ends. One that starts past its end is cut where the L1 table ends.
 * Never fails and reads nothing.
 */
QCOW2_API void qcow2_paths_seek(struct qcow2_paths *paths, struct qcow2_guest start,
				uint64_t length_bytes);

/*
 * Finds the next part of the range. Parts rise and leave no gaps. Each is an extent of the mapping,
 * or a part of one where refcounts differ.
 *
 * *out: points to the path, which belongs to the stream and lives until the next call on it.
 *
 * Returns 1 with *out set; 0 at the end of the range; or -1 with *err filled: the errors of
 * qcow2_mapping_next(), or QCOW2_ERROR_IO if a refcount cannot be read.
 */
QCOW2_API int qcow2_paths_next(struct qcow2_paths *paths, const struct qcow2_path **out,
			       struct qcow2_error *err);

/* Closes and frees the stream. paths: NULL is fine. The image stays open. */
QCOW2_API void qcow2_paths_close(struct qcow2_paths *paths);

/* ---- what a byte of the file is for ---- */

/* What the image does with bytes of its file. The values are stable. */
enum qcow2_piece_state {
	QCOW2_PIECE_USED = 0,       /* something claims the cluster */
	QCOW2_PIECE_FREE = 1,       /* nothing does, and its refcount is 0 */
	QCOW2_PIECE_LEAKED = 2,     /* nothing does, but its refcount is not 0 */
	QCOW2_PIECE_BEYOND_END = 3, /* the file ends before; who claims it all the same is told */
};

/*
 * A piece of a range of the file: one cluster of it, or several that have the same owners. The
 * library owns it and what it points to, until the next call on the stream.
 */
struct qcow2_piece {
	size_t size; /* set by the library */
	struct qcow2_host start;
	uint64_t length_bytes;
	enum qcow2_piece_state state;
	/*
	 * No owner claims a byte of the piece, but something claims other bytes of its cluster: the
	 * piece lies behind the end of a table, or between compressed clusters. owners then are the
	 * neighbours.
	 */
	bool unclaimed;
	/*
	 * The owners, by their offsets, then the active image, snapshots and bitmaps. Each has the
	 * weight 1: an L2 table that snapshots share, or data below it, is told for each L1 entry
	 * that leads to it. owners has owner_count pointers. offset_bytes and length_bytes of each are all
	 * that it claims, which may be more than the piece. guest_byte and guest_length_bytes are
	 * what the bytes of the piece map; of data, all that the entry maps.
	 */
	size_t owner_count;
	const struct qcow2_claim *const *owners;
	/* How many there are. It is more than owner_count if there are too many to keep. */
	uint64_t owners_total;
	/* The refcount of the first cluster, which all clusters of the piece have. */
	const struct qcow2_refcount_path *refcount;
};

struct qcow2_pieces;

/* How to look. The caller owns it and sets size; zeros in the other members are a good choice. */
struct qcow2_pieces_options {
	size_t size;                 /* sizeof(struct qcow2_pieces_options) */
	uint64_t memory_limit_bytes; /* 0: QCOW2_CLAIMS_MEMORY_BYTES */
};

/*
 * Opens a stream over the file. It shows nothing yet: begin with qcow2_pieces_seek().
 *
 * image: stays open until the stream is closed, and is not changed meanwhile. options: may be NULL.
 * *out: set on success; the caller closes it with qcow2_pieces_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT, QCOW2_ERROR_BROKEN and
 * QCOW2_ERROR_UNSUPPORTED as qcow2_claims_walk(), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_pieces_open(const struct qcow2_image *image,
				const struct qcow2_pieces_options *options,
				struct qcow2_pieces **out, struct qcow2_error *err);

/*
 * Makes the stream show the range [start, start + length_bytes) from now on, which is cut at 2^64.
 * What lies past the end of the file is one piece, or more where something claims it. Never fails and
 * reads nothing.
 */
QCOW2_API void qcow2_pieces_seek(struct qcow2_pieces *pieces, struct qcow2_host start,
				 uint64_t length_bytes);

/*
 * Finds the next piece. Pieces rise and leave no gaps.
 *
 * Costs: the walk of qcow2_claims_walk() for each 16,384 clusters of the range, which reads all L2
 * tables; and at most as much again for the L1 tables of snapshots. Owners are kept for 1,048,576
 * clusters and owners together: for one cluster the first 131,072, for a long range the first 64 of
 * each. The others are counted. What a hostile image claims does not change these bounds.
 *
 * *out: points to the piece, which belongs to the stream and lives until the next call on it.
 *
 * Returns 1 with *out set; 0 at the end of the range; or -1 with *err filled: QCOW2_ERROR_IO,
 * QCOW2_ERROR_LIMIT and QCOW2_ERROR_MEMORY as qcow2_claims_walk().
 */
QCOW2_API int qcow2_pieces_next(struct qcow2_pieces *pieces, const struct qcow2_piece **out,
				struct qcow2_error *err);

/* Closes and frees the stream. pieces: NULL is fine. The image stays open. */
QCOW2_API void qcow2_pieces_close(struct qcow2_pieces *pieces);

/* Names a state: "used", "free", "leaked", "beyond-end"; NULL for a number that is none. Pure. */
QCOW2_API const char *qcow2_piece_state_name(enum qcow2_piece_state state);

/* ---- which field a byte of the file belongs to ---- */

/* Room for the path of any field and its NUL. */
#define QCOW2_FIELD_WHERE_MAX 160

/*
 * Finds the field of a structure that holds a byte of the file.
 *
 * owner: a claim of the byte, of any part; guest data, the bits of bitmaps and areas of key material
 * have no fields. byte: within the claim.
 * found: called with opaque, with the path of the field as qcow2_walk() takes it ("header/size",
 * "l2/0/17", "refcounts/0/5"), and with the value. Of an entry of a table, the value is the whole
 * entry. The first of the refcounts that share a byte is told, with raw empty. Both live during the
 * call. It returns 0 to go on, anything else to stop.
 *
 * Returns 1 if found was called, 0 if no field holds the byte; or -1 with *err filled: the errors of
 * qcow2_walk(). Thread safe.
 */
QCOW2_API int qcow2_field_find(const struct qcow2_image *image, const struct qcow2_claim *owner,
			       struct qcow2_host byte,
			       int (*found)(void *opaque, const char *where,
					    const struct qcow2_value *value),
			       void *opaque, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
