/* SPDX-License-Identifier: MIT */
/*
 * A guess: what the file holds if its geometry is that of one shape. The parts are found one after
 * the other, as each stands on those before:
 *
 *	refcounts.c  the refcount table, which vouches for itself: its blocks count its own clusters
 *	l1.c         L1 tables: clusters of offsets that lead to L2 tables, and to which none leads,
 *	             with roots.c and claims.c
 *	named.c      snapshot table, directory of bitmaps, LUKS header
 *	size.c       the size of the virtual disk
 */
#ifndef Q2_RESCUE_GUESS_H
#define Q2_RESCUE_GUESS_H

#include "check/bits.h"
#include "rescue/pieces.h"
#include "rescue/scan.h"

/* The refcount table of a guess, and a reader for refcounts. */
struct q2_guess_refcounts {
	uint64_t table_bytes; /* offset of the table; 0: none was found */
	uint32_t clusters;    /* of the table */
	uint64_t *blocks;     /* offsets of its blocks, 0 where there is none */
	size_t block_count;
	size_t blocks_there;     /* that are not 0 */
	uint32_t agree, asked;   /* clusters of table and blocks with refcount 1, and all of them */
	int64_t score;           /* among tables that are possible */
	struct q2_pieces reader; /* of blocks */
};

/* Clusters side by side that are an L1 table, or a part of one. */
struct q2_guess_l1 {
	uint64_t offset_bytes; /* of the first cluster */
	uint64_t clusters;
	uint64_t entries;     /* that are not 0 */
	uint64_t hits;        /* of those: lead to clusters that read as L2 tables */
	uint64_t copied;      /* of those: with the copied flag */
	uint64_t entries_end; /* behind the last entry that is not 0, from the first cluster on */
	bool of_snapshot;     /* a snapshot says that it is its own */
	bool is_target;       /* another L1 table leads here or maps it: it is none */
	uint32_t mapped_by;   /* while roots are found: so many others lead here or map it */
	bool is_chosen;       /* likewise: although others do */
	uint64_t maps;        /* clusters that it maps, those of L2 tables of others left out */
};

struct q2_guess_snapshots {
	uint64_t offset_bytes; /* 0: there are none */
	uint32_t count;
	uint64_t size_bytes;      /* of the table */
	uint64_t disk_size_bytes; /* the last one's, if its extra data says it; else 0 */
	uint32_t l1_entries;      /* the last one's */
	uint32_t least_extra_bytes;
};

struct q2_guess_bitmaps {
	uint64_t offset_bytes; /* 0: there are none */
	uint32_t count;
	uint64_t size_bytes;
	uint64_t disk_least_bytes, disk_most_bytes; /* what their tables allow; 0: nothing said */
};

struct q2_guess {
	const struct q2_scan *scan;
	const struct qcow2_rescue_options *options;
	struct q2_memory *memory;
	struct q2_rescue_shape shape;
	struct q2_vector tables; /* of struct q2_found_table */
	struct q2_pieces pieces; /* of one cluster */
	struct q2_guess_refcounts refcounts;
	struct q2_vector l1_tables; /* of struct q2_guess_l1 */
	size_t active;              /* index of the active one in l1_tables; SIZE_MAX: none */
	bool part_fits;             /* while a cluster is judged: no entry has been wrong */
	struct q2_vector *edges;    /* of struct q2_guess_edge, while they are noted; else NULL */
	size_t edges_from;
	struct q2_bits claimed; /* clusters that are known to be used for something */
	struct q2_guess_snapshots snapshots;
	struct q2_guess_bitmaps bitmaps;
	uint64_t luks_offset_bytes, luks_length_bytes; /* 0: not encrypted */
	/* Of the active disk: */
	uint64_t mapped_clusters, compressed_clusters, zero_clusters;
	uint64_t l2_tables, l2_missing;
	uint64_t l2_entries, odd_words; /* of L2 tables; see struct q2_found_table */
	uint64_t mapped_end_bytes;      /* of the disk: behind the last cluster that is mapped */
	uint64_t a_compressed;          /* an entry of a compressed cluster; 0: none */
};

/*
 * Prepares a guess, and finds its tables and refcounts. scan, options, memory and shape are set,
 * the rest is zeros. q2_guess_release() in any case. 0, or -1 with *err filled.
 */
int q2_guess_open(struct q2_guess *guess, struct qcow2_error *err);

/* Finds all the rest. As above. */
int q2_guess_finish(struct q2_guess *guess, struct qcow2_error *err);

void q2_guess_release(struct q2_guess *guess);

/* Finds the refcount table, the width of refcounts included. 0, or -1 with *err filled. */
int q2_guess_refcounts(struct q2_guess *guess, struct qcow2_error *err);

/* The refcount of a cluster; 0 where no block counts it. 0, or -1 with *err filled. */
int q2_guess_refcount(struct q2_guess *guess, uint64_t cluster, uint64_t *refcount,
		      struct qcow2_error *err);

/*
 * Whether a cluster may be in use: its refcount is not 0, or no refcounts are known. As above.
 */
int q2_guess_in_use(struct q2_guess *guess, uint64_t offset_bytes, bool *in_use,
		    struct qcow2_error *err);

/* Finds L1 tables, and which one is the active one. 0, or -1 with *err filled. */
int q2_guess_l1(struct q2_guess *guess, struct qcow2_error *err);

/* Finds snapshots, then bitmaps and LUKS, in clusters that nothing has claimed. As above. */
int q2_guess_find_snapshots(struct q2_guess *guess, struct qcow2_error *err);
int q2_guess_find_named(struct q2_guess *guess, struct qcow2_error *err);

/* Marks the L1 tables of the snapshots that were found, and claims their clusters. As above. */
int q2_guess_mark_snapshots(struct q2_guess *guess, struct qcow2_error *err);

/* Adds the clusters of a range of the file to those that are known to be used. */
void q2_guess_claim(struct q2_guess *guess, uint64_t offset_bytes, uint64_t length_bytes);

/* The clusters of the file, the last one may be cut. */
static inline uint64_t q2_guess_clusters(const struct q2_guess *guess)
{
	return (guess->scan->file_size_bytes + (UINT64_C(1) << guess->shape.cluster_bits) - 1) >>
	       guess->shape.cluster_bits;
}

/* How much of the disk an L2 table maps. */
static inline unsigned q2_guess_l2_bits(const struct q2_rescue_shape *shape)
{
	return 2 * shape->cluster_bits - (shape->extended_l2 ? 4 : 3);
}

#endif
