/* SPDX-License-Identifier: MIT */
/*
 * Refcounts made anew ("Host cluster management"). Once all doctors are through, what the check
 * counted is what the refcounts should be. The stages, in their order:
 *
 *	table.c   reads the refcount table, and judges which blocks can stay
 *	lost.c    what nothing counts any more and may be lost data is counted as leaked
 *	rights.c  what may not be mended keeps its refcount: the counts are changed to fit
 *	new.c     new blocks and a new table, until these are counted themselves
 *	blocks.c  plans all blocks that differ from the counts
 *	copied.c  makes the copied flags fit
 *
 * Counts are those of repair->counted, which all of these change.
 */
#ifndef Q2_REPAIR_REFCOUNTS_H
#define Q2_REPAIR_REFCOUNTS_H

#include "repair/repair.h"

#include <qcow2/limits.h>

/* The most entries of a refcount table that QEMU opens. */
#define Q2_TABLE_ENTRIES_MOST ((uint64_t)QCOW2_LIMIT_QEMU_REFCOUNT_TABLE_BYTES / 8)

/* What becomes of the refcount block of an entry. */
enum q2_block_state {
	Q2_BLOCK_NONE, /* there is none */
	Q2_BLOCK_KEPT, /* stays where it is */
	Q2_BLOCK_NEW,  /* is made anew, in free space */
	Q2_BLOCK_LEFT, /* is damaged, and may not be mended */
};

struct q2_block_entry {
	uint64_t word;  /* the entry as the file will have it */
	uint8_t state;  /* enum q2_block_state */
	bool counted;   /* its claim was counted */
	bool lost;      /* a part of it is kept that says nothing any more */
	uint16_t fault; /* 0, or the number of the problem that the old entry has */
};

/* What is mended of one kind. */
struct q2_mended {
	uint64_t count;
	uint64_t first; /* of them: a cluster, or the index of an entry */
};

struct q2_recount {
	struct q2_repair *repair;
	struct q2_references *counted;
	struct q2_clusters *clusters; /* counted->clusters */
	uint64_t cluster_size, per_block;
	unsigned cluster_bits, width;
	uint64_t most;         /* the largest refcount of that width */
	uint64_t old_clusters; /* of the file before the repair */
	/*
	 * The table: Q2_TABLE_ENTRIES_MOST entries in memory. From entries_end on, they are all as if
	 * they were not there: most tables are short.
	 */
	struct q2_block_entry *entries;
	uint64_t entries_end;
	uint64_t table_offset, table_clusters; /* as the file will have them */
	bool table_moves;                      /* it is made anew */
	enum qcow2_problem_id table_fault;     /* why, or 0 */
	bool table_trusted;                    /* what it leads to may be blocks */
	uint64_t heard;                        /* entries that were told by the walk with a claim */
	/* What may be mended: */
	bool may_raise, may_lower, may_beyond;
	bool keeps_leaks; /* what nothing referred to before, either */
	bool restricted;  /* not all of it */
	bool spares;      /* leaks may be lost data of the guest, and are to stay */
	/* Clusters whose refcounts are lost, and how many of them are counted as leaked. */
	struct q2_presumed presumed;
	uint64_t spared, spared_first;
	bool has_taken; /* the repair uses new clusters, which have to be counted somewhere */
	/* If restricted: clusters whose refcount is changed, for the copied flags. */
	struct q2_bits changed;
	uint8_t *old_bytes, *new_bytes; /* a piece of a block each */
	size_t piece_bytes;
	struct q2_mended mended[Q2_PROBLEM_NUMBERS];
};

/* Each returns 0, or -1 with repair->err filled. */
int q2_recount_read_table(struct q2_recount *r);
int q2_recount_spare_lost(struct q2_recount *r);
int q2_recount_restrict(struct q2_recount *r);
/* *possible is false if there is no room for what is missing; reasons are noted. */
int q2_recount_complete(struct q2_recount *r, bool *possible);
int q2_recount_plan_blocks(struct q2_recount *r);
int q2_recount_plan_table(struct q2_recount *r);
int q2_recount_plan_flags(struct q2_recount *r);

/* Reads a piece of the block that stays with an entry, as it is planned, into old_bytes. */
int q2_recount_read(struct q2_recount *r, uint64_t index, uint64_t at, size_t size);

/* Takes back what faulty claims of the table and of blocks counted. */
void q2_recount_settle(struct q2_recount *r);

/* Whether the entry of a block that is not there may have led to one. */
bool q2_recount_is_lost(const struct q2_recount *r, uint64_t index);

/*
 * Whether a cluster was used for a mapping or its data before the repair, which has given up entries:
 * one of them may have led to it.
 */
bool q2_recount_was_given_up(const struct q2_recount *r, uint64_t cluster);

/* Whether a claim of that place is one that a check counts. */
bool q2_recount_is_inside(const struct q2_recount *r, uint64_t offset_bytes, uint64_t size_bytes);

/* Whether nothing refers to count clusters from first on, both multiples of 64. */
bool q2_recount_is_free(const struct q2_recount *r, uint64_t first, uint64_t count);

/*
 * Whether a place of the table or of a block may be mended. New clusters have to be counted, whatever
 * else was to be mended: the next writer would overwrite them.
 */
static inline bool q2_recount_may(const struct q2_recount *r, enum qcow2_problem_id id)
{
	return r->has_taken || q2_repair_may(r->repair, id, false);
}

/* One more that is mended of a kind. */
static inline void q2_recount_note(struct q2_recount *r, enum qcow2_problem_id id, uint64_t at)
{
	if (r->mended[id].count++ == 0)
		r->mended[id].first = at;
}

/* The same for those of 64 clusters whose bits are set. */
static inline void q2_recount_note_word(struct q2_recount *r, enum qcow2_problem_id id,
					uint64_t cluster, uint64_t bits)
{
	if (bits == 0)
		return;
	if (r->mended[id].count == 0)
		r->mended[id].first = cluster + (uint64_t)__builtin_ctzll(bits);
	r->mended[id].count += (uint64_t)__builtin_popcountll(bits);
}

/* The number of the last entry that leads to a block or will, plus one. */
uint64_t q2_recount_entries(const struct q2_recount *r);

#endif
