/* SPDX-License-Identifier: MIT */
/*
 * The scan: reads a whole file once and keeps where bytes look like structures of an image, before
 * anything is known of its geometry. The unit is a sector of 512 bytes, the smallest cluster.
 *
 * Memory is bounded by what tables there can be: neighbouring sectors of one kind are one run, and
 * over Q2_SCAN_RUNS_MOST runs the scan keeps no more and says so.
 */
#ifndef Q2_RESCUE_SCAN_H
#define Q2_RESCUE_SCAN_H

#include "base/vector.h"

#include <qcow2/rescue.h>

#define Q2_SECTOR_BYTES    512
#define Q2_SCAN_RUNS_MOST  ((size_t)1 << 22)
#define Q2_SCAN_MARKS_MOST ((size_t)1 << 16)

/*
 * Sectors side by side, of 64-bit words that could all be entries of a table: L1, L2, refcount or
 * bitmap table. Each word is 0, or an offset within the file (unless the data is in another one)
 * with flags that one of these tables knows, or a compressed descriptor. Sectors of zeros belong to
 * no run.
 */
struct q2_scan_run {
	uint64_t first_sector;
	uint32_t sectors;
	uint8_t alignment_bits; /* of all offsets in it: 9 or more; compressed ones do not count */
	bool has_plain : 1;     /* offsets without the copied flag */
	bool has_copied : 1;    /* offsets with it */
	bool has_compressed : 1; /* bit 62 set, and 0 to 61 a descriptor at one cluster size at least */
	bool has_zero_flag : 1; /* bit 0 */
	bool has_bitmaps : 1;   /* every second word is a subcluster bitmap: extended L2 entries */
};

/* What a place is that says itself what it is. */
enum q2_scan_mark_kind {
	Q2_MARK_QCOW2,     /* magic and version; at 0: the header, elsewhere a guest's image */
	Q2_MARK_LUKS,      /* magic of LUKS 1 or 2 */
	Q2_MARK_SNAPSHOTS, /* an entry of a snapshot table, which may be its first one */
	Q2_MARK_BITMAPS,   /* likewise of a directory of bitmaps */
};

struct q2_scan_mark {
	uint64_t offset_bytes; /* of a sector's begin */
	enum q2_scan_mark_kind kind;
};

/* What the scan found. Both vectors are in the order of the file. */
struct q2_scan {
	struct qcow2_source *source; /* the caller's */
	uint64_t file_size_bytes;
	struct q2_vector runs;  /* of struct q2_scan_run */
	struct q2_vector marks; /* of struct q2_scan_mark */
	bool stopped;           /* the bounds were reached: more is there */
};

/*
 * Fills a scan of zeros. options: not NULL; data_file, threads and progress are looked at. 0, or -1
 * with *err filled. q2_scan_release() in any case.
 */
int q2_scan_file(struct q2_scan *scan, struct qcow2_source *source,
		 const struct qcow2_rescue_options *options, struct qcow2_error *err);
void q2_scan_release(struct q2_scan *scan);

/* A geometry that is supposed: of the opened image, or of a candidate. */
struct q2_rescue_shape {
	unsigned cluster_bits;   /* 9 to 21 */
	unsigned refcount_order; /* 0 to 6; 4 if nothing is known */
	bool extended_l2;
	bool data_file; /* guest offsets lead into another file: they are not bounded */
	uint64_t file_size_bytes;
};

/* A cluster that reads as a table of 64-bit entries, for one shape. */
struct q2_found_table {
	uint64_t offset_bytes; /* aligned to clusters */
	uint64_t first_bytes;  /* lowest and highest host offset that it leads to; 0 if none */
	uint64_t last_bytes;
	uint64_t first_word;    /* the first 64 bits of the cluster */
	uint32_t entries;       /* L2 entries (of 8 or 16 bytes) that are not 0 */
	uint32_t data;          /* of those: lead to a cluster of their own */
	uint32_t copied;        /* of those: with the copied flag */
	uint32_t compressed;    /* of entries: compressed descriptors */
	uint32_t zeros;         /* of entries: read as zeros */
	uint32_t odd_words;     /* 64-bit words at odd indexes that are not 0 */
	uint32_t words_flagged; /* 64-bit words with the highest bit, as of the copied flag */
	uint32_t first_index, last_index; /* of entries that are not 0 */
	bool is_l2 : 1;                   /* obeys all that is said of L2 tables */
	bool is_pointers : 1; /* also of L1, refcount or bitmap tables: aligned offsets, no bit 0 */
};

/*
 * Lists the clusters which read as tables for a shape, in the order of the file, from the runs of
 * the scan: reads each such cluster once more. tables: of struct q2_found_table, initialised by the
 * callee; q2_vector_release() in any case. 0, or -1 with *err filled.
 */
int q2_scan_tables(const struct q2_scan *scan, const struct q2_rescue_shape *shape,
		   struct q2_vector *tables, struct qcow2_error *err);

/* Judges one cluster; it counts as filled up with zeros at the end of the file. As above. */
int q2_scan_table_at(const struct q2_scan *scan, const struct q2_rescue_shape *shape,
		     uint64_t offset_bytes, struct q2_found_table *table, struct qcow2_error *err);

/* The table at an offset in a list of q2_scan_tables(), or NULL. */
const struct q2_found_table *q2_found_table(const struct q2_vector *tables, uint64_t offset_bytes);

#endif
