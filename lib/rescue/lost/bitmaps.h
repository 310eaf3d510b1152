/* SPDX-License-Identifier: MIT */
/*
 * Ranges of the disk that bitmaps have as dirty, and what orphans map, both in units of the coarsest
 * bitmap, or of a cluster if that is larger. An L2 table maps a whole number of units.
 */
#ifndef Q2_RESCUE_LOST_BITMAPS_H
#define Q2_RESCUE_LOST_BITMAPS_H

#include "rescue/lost/state.h"

/* Units [first, end): of the disk, or of a table from its first one. */
struct q2_lost_units {
	uint64_t first, end;
};

/* What a table maps: the runs [first, end) of q2_lost_dirty.mapped, and how many units that is. */
struct q2_lost_mapped {
	size_t first, end;
	uint64_t units;
};

struct q2_lost_dirty {
	struct q2_lost_state *state;
	struct q2_vector runs;         /* of struct q2_lost_units: what is dirty, rising */
	struct q2_vector mapped;       /* of struct q2_lost_units */
	struct q2_lost_mapped *tables; /* for each table */
	size_t table_count;
	unsigned unit_bits;   /* of a unit, in bytes */
	uint64_t table_units; /* that an L2 table maps */
	bool stale;           /* a bitmap may miss what was written last */
};

/* How tables and bitmaps agree at a place, in units. */
struct q2_lost_fit {
	uint64_t hits;     /* mapped and dirty */
	uint64_t old;      /* mapped, but clean: written before the bitmaps began */
	uint64_t unmapped; /* dirty, but not mapped: only a guest that discards data makes such */
	bool has_gaps;     /* a table does not map all of its place */
};

void q2_lost_dirty_init(struct q2_lost_dirty *dirty, struct q2_lost_state *state);
void q2_lost_dirty_release(struct q2_lost_dirty *dirty);
/* Reads what the tables map, when unit_bits is known. */
int q2_lost_dirty_begin(struct q2_lost_dirty *dirty);
/* Adds a range of the disk. */
enum qcow2_error_code q2_lost_dirty_add(struct q2_lost_dirty *dirty, uint64_t start_bytes,
					uint64_t length_bytes);
/* Sorts and joins what was added; then q2_lost_dirty_compare() may be called. */
void q2_lost_dirty_finish(struct q2_lost_dirty *dirty);
/* Adds to *fit how a table fits at a place. */
void q2_lost_dirty_compare(const struct q2_lost_dirty *dirty, uint32_t table, uint32_t slot,
			   struct q2_lost_fit *fit);

#endif
