/* SPDX-License-Identifier: MIT */
/*
 * The walk through the metadata, stage by stage. qcow2_claims_walk() runs all stages for one
 * listener. The check runs them itself: first with a listener that counts and applies rules, with
 * threads of its own for the entries of L2 tables; then, if clusters are wrong, with one that names
 * owners.
 */
#ifndef Q2_CLAIMS_METADATA_H
#define Q2_CLAIMS_METADATA_H

#include "base/memory.h"
#include "claims/l2.h"
#include "claims/listener.h"

/* Bytes of a table that are read at once. */
#define Q2_PIECE_BYTES ((size_t)1 << 18)

/* An L1 table that is to be followed. */
struct q2_l1_table {
	uint64_t offset_bytes;
	uint64_t entries;
	uint64_t first_index; /* of the entry at offset_bytes */
	uint32_t list;        /* whose table it is: see struct q2_l2_ref */
	uint32_t weight;      /* tables of other snapshots at just this place are this one */
};

/* What is kept of a snapshot: its disk, and where its name is. */
struct q2_snapshot_disk {
	uint64_t size_bytes;
	uint64_t name_offset_bytes; /* in the file, which may end before the name does */
	uint16_t name_size;
};

/* One image, and what the stages have found in it. */
struct q2_metadata {
	const struct qcow2_image *image;
	const struct qcow2_header *header;
	const struct qcow2_geometry *geometry;
	struct q2_memory *memory;
	struct qcow2_error *err; /* filled by whatever returns -1; not NULL */
	uint8_t *buffer;         /* Q2_PIECE_BYTES and a cluster, of the caller */
	struct q2_l1_table *l1s; /* of snapshots */
	size_t l1_count, l1_capacity;
	struct q2_snapshot_disk *disks; /* of snapshots, by their index */
	size_t disk_count, disk_capacity;
	struct q2_l2_ref *tables; /* distinct L2 tables, in the order of their offsets */
	size_t table_count, table_capacity;
	bool followed; /* L1 tables have been followed: l1s and tables are complete */
};

/* An image with a geometry; memory and err live as long as the walk. */
void q2_metadata_init(struct q2_metadata *metadata, const struct qcow2_image *image,
		      struct q2_memory *memory, struct qcow2_error *err);
void q2_metadata_release(struct q2_metadata *metadata);

/*
 * The stages, in their order. Each returns 0, or -1 with metadata->err filled. All can be run again
 * with another listener, but q2_metadata_follow_l1() only once: it fills metadata->tables, from
 * which the last two stages work.
 */
int q2_metadata_visit_structures(struct q2_metadata *metadata, const struct q2_listener *listener);
int q2_metadata_follow_l1(struct q2_metadata *metadata, const struct q2_listener *listener);
int q2_metadata_claim_l2_tables(struct q2_metadata *metadata, const struct q2_listener *listener);
int q2_metadata_claim_l2_entries(struct q2_metadata *metadata, const struct q2_listener *listener);

/*
 * The last stage, but only for entries that claim one of the bytes [first, last] of the file, which
 * is many times faster if they are few.
 */
int q2_metadata_claim_l2_entries_near(struct q2_metadata *metadata,
				      const struct q2_listener *listener, uint64_t first,
				      uint64_t last);

/* The parts of q2_metadata_visit_structures() that have files of their own. */
int q2_metadata_visit_snapshots(struct q2_metadata *metadata, const struct q2_listener *listener);
int q2_metadata_visit_bitmaps(struct q2_metadata *metadata, const struct q2_listener *listener);
int q2_metadata_visit_refcount_table(struct q2_metadata *metadata,
				     const struct q2_listener *listener);

/*
 * The virtual disk that L1 table `list` maps, without the name of the snapshot: see struct
 * q2_l2_ref. Complete once q2_metadata_visit_structures() is through.
 */
struct q2_disk q2_metadata_disk(const struct q2_metadata *metadata, uint32_t list);

/*
 * The part of a virtual disk that the claim of an L1 or L2 table maps with its bytes in [start_bytes,
 * start_bytes + length_bytes) of the file, of which it has some. Not all entries of a table lie in
 * one cluster if it is an L1 table, or starts where no table can.
 */
struct q2_guest_range q2_metadata_guest_in(const struct q2_metadata *metadata,
					   const struct qcow2_claim *claim, uint64_t start_bytes,
					   uint64_t length_bytes);

/* The number in tables of the L2 table at an offset, or of the first one behind it. */
size_t q2_metadata_find_table(const struct q2_metadata *metadata, uint64_t offset_bytes);

/*
 * Reads the name of a snapshot, escaped by qcow2_text_escape() and cut to size, which is at most
 * QCOW2_OWNER_NAME_MAX; empty if there is none. 0, or -1 with metadata->err filled.
 */
int q2_metadata_snapshot_name(const struct q2_metadata *metadata, uint64_t index, char *name,
			      size_t size);

/*
 * Reads the L2 table at an offset inside the file into metadata->buffer. *size is set to its bytes:
 * a cluster, or what the file has of it, with an entry that the end cuts filled up with zeros.
 */
int q2_metadata_read_l2(const struct q2_metadata *metadata, uint64_t offset_bytes, uint64_t *size);

/*
 * Whether an L2 table lies in a hole, so that all its entries are 0. A sparse file may have
 * millions of such tables, which are not worth reading.
 */
bool q2_metadata_l2_is_hole(const struct q2_metadata *metadata, const struct q2_l2_ref *ref);

/* How many bytes of an L2 table at an offset inside the file the file has. */
uint64_t q2_metadata_l2_stored(const struct qcow2_geometry *geometry, uint64_t offset_bytes);

/* Entries of a table of 64-bit words, to be read in pieces. */
struct q2_words {
	uint64_t start, end; /* in the file; the last word may be cut by the end of the file */
	/* Called for each word that is not 0. As a listener's members. */
	int (*word)(void *opaque, uint64_t at, uint64_t word);
	void *opaque;
};

/* Reads words, skips holes, and tells listener->table_bytes and go_on of every piece. */
int q2_metadata_read_words(struct q2_metadata *metadata, const struct q2_listener *listener,
			   const struct q2_words *words);

#endif
