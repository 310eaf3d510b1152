/* SPDX-License-Identifier: MIT */
/*
 * What the parts of a check share. A check goes through the metadata in this order: structures by
 * their rules (and who owns which host cluster), L1 tables, the distinct L2 tables below them,
 * refcounts; and only if clusters are wrong, once more through all, to name their owners.
 */
#ifndef Q2_CHECK_INTERNAL_H
#define Q2_CHECK_INTERNAL_H

#include "base/digest.h"
#include "base/hash.h"
#include "check/clusters.h"
#include "rules/rules.h"

#include <qcow2/check.h>

#define Q2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define Q2_COPIED      (UINT64_C(1) << 63)
#define Q2_COMPRESSED  (UINT64_C(1) << 62)
#define Q2_ZERO        UINT64_C(1)
/* So much is read at once. */
#define Q2_PIECE_BYTES ((size_t)1 << 18)

/* Whose L1 table: the active image's, or 1 + the index of a snapshot. */
#define Q2_ACTIVE 0

/* What a part of the metadata claims to be. */
enum q2_part {
	Q2_PART_HEADER,
	Q2_PART_L1, /* list */
	Q2_PART_REFCOUNT_TABLE,
	Q2_PART_REFCOUNT_BLOCK, /* index */
	Q2_PART_SNAPSHOTS,
	Q2_PART_BITMAPS,
	Q2_PART_BITMAP_TABLE, /* list: the bitmap */
	Q2_PART_BITMAP_DATA,  /* list: the bitmap, index */
	Q2_PART_LUKS,
	Q2_PART_L2,   /* list, index */
	Q2_PART_DATA, /* list, index, entry */
};

/* Bytes of the file that something uses. */
struct q2_claim {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	enum q2_use use;
	uint64_t weight; /* so many references at once */
	enum q2_part part;
	uint64_t list, index, entry;
	bool has_guest;
	uint64_t guest_byte;
};

/* An L1 table that is to be followed. */
struct q2_l1_table {
	uint64_t offset_bytes;
	uint64_t entries;
	uint64_t first_index; /* of the entry at offset_bytes */
	uint32_t list;
	uint32_t weight; /* tables of other snapshots at just this place are this one */
};

/* A distinct L2 table. */
struct q2_l2_ref {
	uint64_t offset_bytes;
	uint64_t weight; /* L1 entries that lead to it */
	uint64_t active; /* of them, those of the active image */
	uint32_t list;   /* the first of them */
	uint32_t index;
	bool copied;      /* an active one has the copied flag */
	bool faulty;      /* an entry breaks a rule by itself */
	bool beyond_size; /* the active one maps clusters past the virtual size */
};

/* A refcount block that counts clusters of the file. */
struct q2_refcount_block {
	uint64_t offset_bytes; /* 0: in a hole, so that it counts nothing */
	uint64_t index;        /* in the refcount table */
};

/* Who uses such a cluster: what its claim says, in short. */
struct q2_bad_owner {
	uint64_t list, index, entry;
	uint64_t guest_byte;
	enum q2_part part;
	bool has_guest;
};

/* A cluster whose refcount, flags or owners are wrong. */
struct q2_bad_cluster {
	uint64_t cluster;
	uint64_t refcount;
	uint64_t count;
	enum qcow2_problem_id id;
	unsigned owner_count;
	uint64_t owners_total;
	struct q2_bad_owner *owners; /* QCOW2_PROBLEM_OWNERS_MAX, once they are looked for */
};

/* The lowest clusters with a problem of one kind, and how many there are from a cluster on. */
struct q2_bad_list {
	struct q2_bad_cluster *items;
	size_t count, capacity;
	uint64_t total;
	bool full; /* so many are kept that those from bound on are only counted */
	uint64_t bound;
};

enum q2_bad {
	Q2_BAD_REFCOUNT_LOW,
	Q2_BAD_REFCOUNT_HIGH,
	Q2_BAD_OVERFLOW,
	Q2_BAD_COPIED_SET,
	Q2_BAD_COPIED_CLEAR,
	Q2_BAD_OWNERS,
	Q2_BAD_KINDS
};

/* The name of a snapshot or bitmap that owns a bad cluster. */
struct q2_part_name {
	uint64_t index;
	char text[QCOW2_OWNER_NAME_MAX]; /* escaped, and maybe cut */
};

/* Those of one kind, in the order of their indexes. */
struct q2_part_names {
	struct q2_part_name *items;
	size_t count, capacity;
};

/* What each thread has for itself. */
struct q2_check_worker {
	struct qcow2_check *check;
	struct q2_clusters clusters; /* of worker 0: everybody's, once they are merged */
	uint8_t *buffer;             /* Q2_PIECE_BYTES, and a cluster more */
	uint64_t allocated, fragmented, compressed;
	uint64_t highest_cluster; /* in use, plus one */
	uint64_t beyond_end;      /* refcounts of clusters past the end of the file */
	struct q2_bad_list bad[Q2_BAD_KINDS];
	struct q2_digest digest;
	struct qcow2_error err;
	bool failed;
};

struct qcow2_check {
	const struct qcow2_image *image;
	const struct qcow2_header *header;
	const struct qcow2_geometry *geometry;
	const struct qcow2_check_options *options;
	struct qcow2_check_result *result;
	uint64_t *by_kind; /* problems of each kind, indexed by enum qcow2_problem_id */
	struct qcow2_error *err;
	struct q2_reporter reporter; /* muted while owners are named */
	struct q2_hash_key hash_key;
	struct q2_memory memory;
	uint64_t file_clusters; /* the last may be cut */
	unsigned threads;
	struct q2_check_worker *workers; /* one for each thread */
	/* Who hears of claims: the counting, or the naming. Returns false to stop. */
	bool (*claim)(struct qcow2_check *check, const struct q2_claim *claim);
	struct q2_l1_table *l1s; /* of snapshots */
	size_t l1_count, l1_capacity;
	struct q2_l2_ref *tables; /* in the order of their offsets */
	size_t table_count, table_capacity;
	struct q2_refcount_block *blocks; /* in the order of the refcount table */
	size_t block_count, block_capacity;
	uint64_t bad_left[Q2_BAD_KINDS]; /* so many of a kind may still be told */
	uint64_t bad_from;               /* bad clusters before this one have been told */
	struct q2_bad_cluster **named;   /* by cluster, while owners are named */
	size_t named_count;
	uint64_t claims_left; /* bytes that metadata may claim before the rest is ignored */
	_Atomic uint64_t done_bytes;
	uint64_t total_bytes;
	bool naming;
	bool digesting;     /* metadata that is read goes into the workers' digests */
	bool digest_is_cut; /* a bound on what is read kept some metadata out of them */
	bool stopped;       /* the callback for problems wants no more */
};

/* Adds metadata that a worker has read to its digest. */
static inline void q2_check_digest(struct q2_check_worker *worker, uint64_t offset_bytes,
				   const void *bytes, uint64_t size)
{
	if (worker->check->digesting)
		q2_digest_add(&worker->digest, offset_bytes,
			      (struct qcow2_bytes){bytes, (size_t)size});
}

/* Errors of the calling thread. */
int q2_check_fail_memory(struct qcow2_check *check, struct qcow2_error *err);

/* A thread has failed, or progress wants to stop: fills check->err with why. Returns -1. */
int q2_check_worker_failed(struct qcow2_check *check);

/* Hands a problem to the caller, until the caller wants no more. */
void q2_check_tell(struct qcow2_check *check, const struct qcow2_problem *problem);

/* Tells the caller how far the check is; false if it shall stop. Only for the calling thread. */
bool q2_check_progress(struct qcow2_check *check);

/* Where to go on in a table that starts at start, if there is a hole from at to hole_end. */
uint64_t q2_check_past_hole(uint64_t start, uint64_t at, uint64_t hole_end);
/* What of a table was read goes into the digest: sectors, a directory entry, an entry of a table.
 */
void q2_check_digest_sectors(struct q2_check_worker *worker, uint64_t at, const uint8_t *bytes,
			     size_t size);
void q2_check_digest_bitmap(struct q2_check_worker *worker, const struct qcow2_bitmap *bitmap);
void q2_check_digest_snapshot(struct q2_check_worker *worker,
			      const struct qcow2_snapshot *snapshot);
void q2_check_digest_word(struct q2_check_worker *worker, uint64_t at, uint64_t word);

/* Counts a claim in the clusters of a worker. */
void q2_check_count(struct q2_check_worker *worker, const struct q2_claim *claim);

/* The parts; each returns 0, or -1 with check->err filled. */
int q2_check_metadata(struct qcow2_check *check); /* all but L1, L2 and refcounts */
int q2_check_bitmaps(struct qcow2_check *check);
int q2_check_snapshots(struct qcow2_check *check);
int q2_check_luks(struct qcow2_check *check);
int q2_check_l1_tables(struct qcow2_check *check);
int q2_check_l2_tables(struct qcow2_check *check);
int q2_check_refcount_table(struct qcow2_check *check);
int q2_check_refcounts(struct qcow2_check *check);
int q2_check_report_l2(struct qcow2_check *check);
int q2_check_raw(struct qcow2_check *check);
int q2_check_deep(struct qcow2_check *check);
int q2_check_tell_clusters(struct qcow2_check *check);

/* Goes through the metadata once more, and notes who uses the named clusters. */
int q2_check_find_owners(struct qcow2_check *check);

/* Which snapshot or bitmap, if any, an owner is part of. */
enum qcow2_part_of q2_check_part_of(const struct q2_bad_owner *owner, uint64_t *index);

/* Finds the names of the snapshots or bitmaps that the named clusters' owners are parts of. */
int q2_part_names_find(struct qcow2_check *check, enum qcow2_part_of kind,
		       struct q2_part_names *names);
/* The name of one of them; "" if it has none. */
const char *q2_part_names_get(const struct q2_part_names *names, uint64_t index);
void q2_part_names_release(struct qcow2_check *check, struct q2_part_names *names);

/* The clusters of the L2 tables themselves; false to stop. */
bool q2_check_claim_l2_tables(struct qcow2_check *check);
/* Reads an L2 table, as far as the file has it, into the buffer of worker 0. */
int q2_check_read_l2(struct qcow2_check *check, const struct q2_l2_ref *ref, uint64_t *size);

/* The kind of problem that the clusters in a list of bad ones have. */
enum qcow2_problem_id q2_bad_id(enum q2_bad kind);
/* Adds a cluster to the list of its kind, which keeps its lowest ones; false if memory is short. */
bool q2_bad_list_add(struct qcow2_check *check, struct q2_bad_list *list, enum q2_bad kind,
		     const struct q2_bad_cluster *item);
/* Whether a cluster would only be counted. */
bool q2_bad_list_is_past(const struct qcow2_check *check, const struct q2_bad_list *list,
			 enum q2_bad kind, uint64_t cluster);
/* Adds what another list keeps, and brings the list into order. */
bool q2_bad_list_merge(struct qcow2_check *check, struct q2_bad_list *list, enum q2_bad kind,
		       struct q2_bad_list *other);
void q2_bad_list_release(struct qcow2_check *check, struct q2_bad_list *list);

/* The path of an L1 table, "l1" or "snapshots/3/l1", or of the list of L2 tables below it. */
const char *q2_check_list_path(uint64_t list, const char *what, char *path, size_t size);

#endif
