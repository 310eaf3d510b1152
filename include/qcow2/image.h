/* SPDX-License-Identifier: MIT */
/*
 * An image: finds the structures in a source. Opening asks for little (the magic number and a
 * version that is known), so that broken images can be looked at; what cannot be trusted says so.
 * No other file that an image names is ever opened here.
 *
 * An image may be used from several threads at once as long as each uses iterators of its own.
 */
#ifndef QCOW2_IMAGE_H
#define QCOW2_IMAGE_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/format.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

struct qcow2_image;

/* Header extension types, "Header extensions". */
#define QCOW2_EXTENSION_END            UINT32_C(0)
#define QCOW2_EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXTENSION_FEATURE_NAMES  UINT32_C(0x6803f857)
#define QCOW2_EXTENSION_BITMAPS        UINT32_C(0x23852875)
#define QCOW2_EXTENSION_CRYPTO         UINT32_C(0x0537be77)
#define QCOW2_EXTENSION_DATA_FILE      UINT32_C(0x44415441)

/* Feature bits, "Header". */
#define QCOW2_INCOMPATIBLE_DIRTY        (UINT64_C(1) << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT      (UINT64_C(1) << 1)
#define QCOW2_INCOMPATIBLE_DATA_FILE    (UINT64_C(1) << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION  (UINT64_C(1) << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2  (UINT64_C(1) << 4)
#define QCOW2_INCOMPATIBLE_KNOWN        UINT64_C(0x1f)
#define QCOW2_COMPATIBLE_LAZY_REFCOUNTS (UINT64_C(1) << 0)
#define QCOW2_COMPATIBLE_KNOWN          UINT64_C(0x1)
#define QCOW2_AUTOCLEAR_BITMAPS         (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW   (UINT64_C(1) << 1)
#define QCOW2_AUTOCLEAR_KNOWN           UINT64_C(0x3)

/* Bitmap flags, "Bitmap directory". */
#define QCOW2_BITMAP_IN_USE                (UINT32_C(1) << 0)
#define QCOW2_BITMAP_AUTO                  (UINT32_C(1) << 1)
#define QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE (UINT32_C(1) << 2)
#define QCOW2_BITMAP_FLAGS_KNOWN           UINT32_C(0x7)

/* What follows from the header's numbers once they are sane. */
struct qcow2_geometry {
	uint64_t cluster_size_bytes;
	uint64_t virtual_size_bytes;
	uint64_t file_size_bytes;
	uint64_t l2_entries;             /* in one L2 table */
	uint64_t l1_entries_needed;      /* that the virtual disk needs */
	uint64_t refcount_block_entries; /* in one refcount block */
	unsigned cluster_bits;
	unsigned l2_entry_bytes;         /* 8, or 16 with extended L2 entries */
	unsigned refcount_bits;          /* 1 to 64 */
	unsigned compressed_offset_bits; /* x of "Compressed Clusters Descriptor" */
	bool extended_l2;
	bool data_file; /* guest clusters are in an external data file */
};

/*
 * Opens the image in source, which the caller keeps open until the image is closed.
 *
 * Returns 0 and sets *out, which the caller closes with qcow2_image_close(), or -1 with *err
 * filled: QCOW2_ERROR_NOT_QCOW2    no qcow2 magic number ("Header"), or nothing in the source at
 * all QCOW2_ERROR_UNSUPPORTED  version 1 (qcow), or one above 3 QCOW2_ERROR_BROKEN       the magic
 * is there, but the file ends inside the fixed header (72 bytes in version 2, 104 in version 3)
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY
 * A success says nothing about the rest: see qcow2_image_geometry().
 */
QCOW2_API int qcow2_image_open(struct qcow2_source *source, struct qcow2_image **out,
			       struct qcow2_error *err);

/* Closes and frees. NULL is fine. The source stays open. */
QCOW2_API void qcow2_image_close(struct qcow2_image *image);

/* The header decoded, with version 2's fixed values filled in. Never NULL. */
QCOW2_API const struct qcow2_header *qcow2_image_header(const struct qcow2_image *image);

/*
 * The bytes of the first cluster as far as the file has them: the header, its extensions and the
 * backing file's name. If the cluster size is insane, the first 64 KiB at most.
 */
QCOW2_API struct qcow2_bytes qcow2_image_first_cluster(const struct qcow2_image *image);

/*
 * The geometry, or NULL if the header's cluster_bits (9..30)
 * or refcount_order (0..6) is outside of what the format can express.
 */
QCOW2_API const struct qcow2_geometry *qcow2_image_geometry(const struct qcow2_image *image);

/* The source that the image was opened from. */
QCOW2_API struct qcow2_source *qcow2_image_source(const struct qcow2_image *image);

/*
 * The backing file's name as stored, cut to the first cluster, to 1023 bytes and to the file; empty
 * if there is no backing file. Bytes of the image: not NUL terminated, maybe not text.
 */
QCOW2_API struct qcow2_bytes qcow2_image_backing_name(const struct qcow2_image *image);

/* ---- header extensions ("Header extensions") ---- */

/* One extension. Views are into the image's first cluster and live as long as the image. */
struct qcow2_extension {
	struct qcow2_extension_header header;
	uint64_t offset_bytes;      /* host offset of its magic */
	uint64_t index;             /* 0, 1, … in file order */
	struct qcow2_bytes raw;     /* the 8 bytes of magic and length */
	struct qcow2_bytes data;    /* cut to the extension area */
	struct qcow2_bytes padding; /* 0 to 7 bytes */
	bool cut;                   /* its length passes the area: nothing can follow */
};

/* An iterator; the caller owns it, and nothing needs to be released. */
struct qcow2_extensions {
	const struct qcow2_image *image;
	uint64_t at_bytes;  /* where the next one starts; after the last, where the walk ended */
	uint64_t end_bytes; /* end of the extension area as far as the file has it */
	uint64_t next_index;
	bool ended;      /* no more follow */
	bool terminated; /* an end mark was seen */
};

/* Starts at the first extension. Never fails. */
QCOW2_API void qcow2_extensions_begin(const struct qcow2_image *image, struct qcow2_extensions *it);

/* The next extension into *out; false when there are no more. The end mark is not returned. */
QCOW2_API bool qcow2_extensions_next(struct qcow2_extensions *it, struct qcow2_extension *out);

/* The first extension of that type into *out; false if there is none. */
QCOW2_API bool qcow2_image_find_extension(const struct qcow2_image *image, uint32_t magic,
					  struct qcow2_extension *out);

/* ---- bitmap directory ("Bitmap directory") ---- */

/* One entry of the directory. Views live until the next call on the iterator. */
struct qcow2_bitmap {
	struct qcow2_bitmap_dir_entry entry;
	uint64_t index;
	uint64_t offset_bytes;         /* host offset of the entry */
	uint64_t size_bytes;           /* of the entry as it claims to be, padding included */
	struct qcow2_bytes raw;        /* the fixed 24 bytes, fewer if cut */
	struct qcow2_bytes extra_data; /* empty if over 4096 bytes */
	struct qcow2_bytes name;       /* not NUL terminated, maybe not text */
	struct qcow2_bytes padding;
	bool cut; /* passes the end of the directory or of the file; nothing can follow */
};

struct qcow2_bitmaps;

/*
 * An iterator over the directory that the first bitmaps extension of at least 24 bytes names.
 * Reads it in pieces; memory is bounded whatever the extension claims.
 *
 * Returns 0 and sets *out (close it with qcow2_bitmaps_close()), or -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND  there is no bitmaps extension
 *   QCOW2_ERROR_BROKEN     the geometry is insane, or the directory starts beyond the file's end
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_bitmaps_open(const struct qcow2_image *image, struct qcow2_bitmaps **out,
				 struct qcow2_error *err);

/* The decoded bitmaps extension that the iterator follows. */
QCOW2_API const struct qcow2_bitmaps_extension *
qcow2_bitmaps_header(const struct qcow2_bitmaps *bitmaps);

/*
 * The next entry: 1 and *out filled; 0 at the end (after nb_bitmaps entries, after the directory's
 * end, or after an entry that was cut); -1 with *err filled (QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT).
 */
QCOW2_API int qcow2_bitmaps_next(struct qcow2_bitmaps *bitmaps, struct qcow2_bitmap *out,
				 struct qcow2_error *err);

/* Bytes of the directory that the entries returned so far claim to occupy. */
QCOW2_API uint64_t qcow2_bitmaps_used_bytes(const struct qcow2_bitmaps *bitmaps);

/* NULL is fine. */
QCOW2_API void qcow2_bitmaps_close(struct qcow2_bitmaps *bitmaps);

/*
 * How many entries the table of a bitmap of that granularity needs ("Bitmap table"):
 * ceil(ceil(ceil(size / granularity) / 8) / cluster_size).
 */
QCOW2_API uint64_t qcow2_bitmap_table_entries_needed(const struct qcow2_geometry *geometry,
						     unsigned granularity_bits);

/* What a bitmap holds. */
struct qcow2_bitmap_totals {
	uint64_t serialized_entries; /* table entries with data in the file */
	uint64_t all_zeroes_entries;
	uint64_t all_ones_entries;
	uint64_t disk_bytes;        /* table and data clusters */
	uint64_t bits;              /* the bitmap has by the virtual size */
	uint64_t bits_set;          /* within those bits */
	uint64_t dirty_bytes;       /* of the virtual disk that set bits stand for */
	bool tail_set;              /* bits past the end are set */
	uint64_t tail_offset_bytes; /* host offset of the first such byte if tail_set */
};

/*
 * Reads a bitmap's table and data and adds them up. Data beyond the end of the file counts as
 * zeros, entries with both an offset and the all-ones bit as data.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_BROKEN (insane geometry, table beyond the end,
 * granularity over 63), QCOW2_ERROR_LIMIT (more than max_read_bytes of data would be read),
 * QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_bitmap_count(const struct qcow2_image *image,
				 const struct qcow2_bitmap_dir_entry *entry,
				 uint64_t max_read_bytes, struct qcow2_bitmap_totals *out,
				 struct qcow2_error *err);

/* ---- snapshots ("Snapshots") ---- */

/* One entry of the snapshot table. Views live until the next call on the iterator. */
struct qcow2_snapshot {
	struct qcow2_snapshot_header header;
	struct qcow2_snapshot_extra extra; /* fields that extra_data does not reach are 0 */
	uint64_t index;
	uint64_t offset_bytes;
	uint64_t size_bytes;           /* of the entry as it claims to be, padding included */
	struct qcow2_bytes raw;        /* the fixed 40 bytes, fewer if cut */
	struct qcow2_bytes extra_data; /* empty if over 4096 bytes */
	struct qcow2_bytes id;
	struct qcow2_bytes name;
	uint64_t vm_state_size_bytes; /* whichever field holds */
	uint64_t disk_size_bytes;     /* of the extra data, or the current size */
	bool has_disk_size;
	bool has_icount; /* present and not all ones */
	bool cut;        /* passes the end of the file; nothing can follow */
};

struct qcow2_snapshots;

/*
 * An iterator over the snapshot table. Errors: QCOW2_ERROR_NOT_FOUND (nb_snapshots is 0),
 * QCOW2_ERROR_BROKEN (insane geometry, or the table starts beyond the end), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_snapshots_open(const struct qcow2_image *image, struct qcow2_snapshots **out,
				   struct qcow2_error *err);

/* As qcow2_bitmaps_next(). */
QCOW2_API int qcow2_snapshots_next(struct qcow2_snapshots *snapshots, struct qcow2_snapshot *out,
				   struct qcow2_error *err);

/* NULL is fine. */
QCOW2_API void qcow2_snapshots_close(struct qcow2_snapshots *snapshots);

/* ---- tables of 64-bit entries (L1, L2, refcount table, bitmap tables) ---- */

struct qcow2_table;

/*
 * A reader of tables, to be used for one table after another. Reads ahead in pieces of up to
 * 128 KiB. Errors: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_table_new(const struct qcow2_image *image, struct qcow2_table **out,
			      struct qcow2_error *err);

/*
 * Points the reader at the table of entries 64-bit words at offset_bytes. Returns how many of them
 * the file has, its short last cluster counted as if filled with zeros. Never fails.
 */
QCOW2_API uint64_t qcow2_table_begin(struct qcow2_table *table, uint64_t offset_bytes,
				     uint64_t entries);

/*
 * The entry of that index in host order; any order is allowed, rising is fast. Returns 0, or -1
 * with *err filled: QCOW2_ERROR_BROKEN (index not below qcow2_table_begin()'s result),
 * QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT.
 */
QCOW2_API int qcow2_table_entry(struct qcow2_table *table, uint64_t index, uint64_t *entry,
				struct qcow2_error *err);

/*
 * The refcount of that index in the refcount block at the reader's offset: refcount_bits wide,
 * least significant bits first below 8 bits ("Host cluster management"). As qcow2_table_entry();
 * index counts refcounts, and qcow2_table_begin() was given the block's size in 64-bit words.
 */
QCOW2_API int qcow2_table_refcount(struct qcow2_table *table, uint64_t index, uint64_t *refcount,
				   struct qcow2_error *err);

/* NULL is fine. */
QCOW2_API void qcow2_table_free(struct qcow2_table *table);

/* ---- LUKS ---- */

/*
 * The LUKS header that the crypto extension names: fills raw with its first size_bytes bytes (zeros
 * beyond the file) and *offset_bytes with its host offset. Errors: QCOW2_ERROR_NOT_FOUND (no crypto
 * extension of 16 bytes), QCOW2_ERROR_BROKEN (starts beyond the end), QCOW2_ERROR_IO.
 */
QCOW2_API int qcow2_image_read_luks(const struct qcow2_image *image, uint8_t *raw,
				    size_t size_bytes, uint64_t *offset_bytes,
				    struct qcow2_error *err);

QCOW2_END_DECLS

#endif
