/* SPDX-License-Identifier: MIT */
/* What all stages of a search for lost mappings share: see lost.h. */
#ifndef Q2_RESCUE_LOST_STATE_H
#define Q2_RESCUE_LOST_STATE_H

#include "base/memory.h"
#include "check/bits.h"
#include "check/clusters.h"
#include "rescue/lost/lost.h"
#include "rescue/scan.h"

#include <qcow2/entry.h>
#include <qcow2/image.h>

/* No table, no place. */
#define Q2_LOST_NONE UINT32_MAX

/* An L2 table that is there: one of the active disk, or an orphan. */
struct q2_lost_table {
	uint64_t cluster; /* where it is */
	uint64_t
		first_bytes; /* where the data of its first and last entry begins; 0 if it has none */
	uint64_t last_bytes;
	uint64_t last_end_bytes;          /* where that of the last entry ends */
	uint32_t first_index, last_index; /* of entries that are not 0 */
	uint32_t entries;                 /* that are not 0 */
	uint32_t data;                    /* of them: lead to clusters, or are compressed */
	uint32_t jumps;                   /* of them: not behind the entry before, which is 0, */
	uint32_t falls; /* and of these lead in front of what the last one leads to */
	uint32_t compressed;
	uint32_t slot;         /* its place in the L1 table, or Q2_LOST_NONE */
	uint32_t before, next; /* tables whose data is side by side with its own */
	uint8_t confidence;    /* in its place; 100 if an L1 entry leads to it */
	bool orphan;           /* nothing leads to it, or too few entries: */
	bool shared;           /* a snapshot has it as well */
};

/* What the active L1 table has at a place. */
enum q2_lost_slot_kind {
	Q2_SLOT_HOLE,    /* no table */
	Q2_SLOT_LIVE,    /* a table that reads as one */
	Q2_SLOT_EMPTIED, /* leads to a cluster that is no table, or has no entry */
	Q2_SLOT_PLACED,  /* a hole that an orphan fills */
};

struct q2_lost_slot {
	uint64_t table_bytes; /* that the entry leads to; 0 in a hole */
	uint32_t table;       /* number of the table, or Q2_LOST_NONE */
	enum q2_lost_slot_kind kind;
};

/* Why a table belongs to a place. The comment says what detail is. */
enum q2_lost_why {
	Q2_WHY_SNAPSHOT_L1,  /* index of the snapshot: it has the table there, too */
	Q2_WHY_SAME_ENTRIES, /* index of the snapshot: its table there has the same entries */
	Q2_WHY_OLD_L1,       /* host offset of an older L1 table that nothing refers to */
	Q2_WHY_GUEST,        /* enum q2_lost_magic */
	Q2_WHY_DATA_FILE,    /* offsets in the data file are those of the guest */
	Q2_WHY_BEHIND,       /* the data follows that of the table at this index */
	Q2_WHY_BEFORE,       /* the data precedes that of the table at this index */
	Q2_WHY_ONLY,         /* one table, one hole */
	Q2_WHY_ORDER,        /* as many tables as holes, in the order of the file */
	Q2_WHY_FITS_LAST,    /* the only one that ends where the disk does */
	Q2_WHY_FITS_HERE,    /* no other hole has room for it and those that follow it */
	Q2_WHY_BEGIN,        /* the only one that has the first cluster of its place */
	Q2_WHY_ORDER_FIRST,  /* the first one of the file that has the first cluster of its place */
	Q2_WHY_ORDER_SOME,   /* fewer or more tables than holes: detail is the number of holes */
	Q2_WHY_BITMAPS,      /* dirty bitmaps: agree of detail units are mapped and dirty */
};

/* A table that may belong to a place. */
struct q2_lost_vote {
	uint32_t table, slot;
	uint64_t detail;
	uint64_t agree; /* what speaks for it: entries, for example */
	uint8_t confidence;
	uint8_t why;
	bool taken;
};

struct q2_lost_state {
	struct q2_lost *lost;
	const struct qcow2_image *image;
	const struct qcow2_header *header;
	const struct qcow2_geometry *geometry;
	struct qcow2_source *source;
	const struct q2_lost_how *how;
	struct qcow2_error *err;
	struct q2_memory memory;
	uint64_t file_clusters;
	struct q2_clusters clusters; /* the references that there are */
	uint64_t claims_left;        /* clusters that may still be marked */
	struct qcow2_table *words, *refcount_table, *refcount_block;
	uint64_t refcount_entries; /* of the refcount table, that the file has */
	uint64_t block_bytes;      /* that refcount_block is at, or 0 */
	bool refcounts;            /* there are some, so that they can tell what leaks */
	bool has_bitmaps;
	uint8_t *buffer; /* of a cluster */
	struct q2_lost_slot *slots;
	uint32_t slot_count;
	size_t slot_room; /* what was allocated */
	uint32_t holes;
	struct q2_lost_table *tables; /* in the order of the file */
	size_t table_count, table_capacity;
	uint64_t *
		old_l1s; /* host offsets of clusters that read as L1 tables; nothing refers to them */
	size_t old_l1_count, old_l1_capacity;
	struct q2_vector votes; /* of struct q2_lost_vote */
	size_t settled;         /* of them */
};

/* owners.c: what refers to clusters, and what refcounts say. */
int q2_lost_count(struct q2_lost_state *state);
int q2_lost_refcount(struct q2_lost_state *state, uint64_t cluster, uint64_t *refcount);
/* Whether a reference is missing: the refcount is larger, or there is no reference at all. */
int q2_lost_lacks(struct q2_lost_state *state, uint64_t cluster, bool *lacks);
/* Whether nothing refers to a cluster that has a refcount. */
int q2_lost_leaks(struct q2_lost_state *state, uint64_t cluster, bool *leaks);

/* tables.c: fills slots and tables. */
int q2_lost_read_l1(struct q2_lost_state *state);
int q2_lost_read_tables(struct q2_lost_state *state);
/* The number of the table at a cluster, or Q2_LOST_NONE. */
uint32_t q2_lost_table_at(const struct q2_lost_state *state, uint64_t cluster);
/* Reads a cluster of the file into state->buffer, filled up with zeros behind its end. */
int q2_lost_read_cluster(struct q2_lost_state *state, uint64_t cluster);
/* Where the data of an entry begins and ends; false if it has none in the file. */
bool q2_lost_target(const struct qcow2_geometry *geometry, uint64_t entry, uint64_t *begin_bytes,
		    uint64_t *end_bytes);

/*
 * votes.c: q2_lost_vote() notes that a table may belong to a place, q2_lost_settle() gives the
 * places to votes that were noted since the last time, the best ones first, and q2_lost_take()
 * notes a vote and gives it the place at once, if both are free. A vote that is less than likely
 * gets a place that no other vote wants, when all stages have voted: q2_lost_settle_rest().
 */
int q2_lost_vote(struct q2_lost_state *state, const struct q2_lost_vote *vote);
int q2_lost_take(struct q2_lost_state *state, const struct q2_lost_vote *vote);
void q2_lost_settle(struct q2_lost_state *state);
void q2_lost_settle_rest(struct q2_lost_state *state);
/* Whether the vote could be given its place now. */
bool q2_lost_is_free(const struct q2_lost_state *state, uint32_t table, uint32_t slot);

/* Stages: L1 tables that are there, snapshots' tables, the guest's data, bitmaps, order. */
int q2_lost_ask_l1(struct q2_lost_state *state);
int q2_lost_ask_snapshots(struct q2_lost_state *state);
int q2_lost_ask_guest(struct q2_lost_state *state);
/* Finds which tables have their data side by side; then places those next to placed ones. */
int q2_lost_find_neighbours(struct q2_lost_state *state);
int q2_lost_ask_neighbours(struct q2_lost_state *state);
int q2_lost_ask_bitmaps(struct q2_lost_state *state);
int q2_lost_ask_order(struct q2_lost_state *state);

/* l2.c: L2 tables whose entries are gone. */
int q2_lost_rebuild(struct q2_lost_state *state);

/* text.c: the evidence in words. */
void q2_lost_explain(const struct q2_lost_state *state, const struct q2_lost_vote *vote, char *text,
		     size_t size);

/* The name of what was found in the guest's data; detail of Q2_WHY_GUEST. */
const char *q2_lost_magic_name(uint64_t detail);

#endif
