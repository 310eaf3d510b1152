/* SPDX-License-Identifier: MIT */
/* An L2 table of which entries are gone, while it is mended: see l2.c. */
#ifndef Q2_RESCUE_LOST_L2_H
#define Q2_RESCUE_LOST_L2_H

#include "format/l2_table.h"
#include "rescue/lost/state.h"

struct q2_snapshot_l1 {
	uint64_t offset_bytes;
	uint32_t size, index;
};

struct q2_rebuild {
	struct q2_lost_state *state;
	struct q2_vector snapshots; /* of struct q2_snapshot_l1 */
	uint8_t *table;             /* the L2 table, as it will be */
	uint8_t *filled;            /* for each of its entries: it is made anew */
	uint64_t *leaks;            /* clusters that may be those of a hole */
	uint64_t entries;           /* of the table, as far as the disk goes */
	uint64_t lookups_left;
	uint32_t slot;
	uint64_t cluster; /* of the table */
	bool compressed;  /* the image has compressed clusters, which leak likewise */
};

/* Whether an entry is 0. */
static inline bool q2_rebuild_is_zero(const struct q2_rebuild *rebuild, uint64_t index)
{
	unsigned width = rebuild->state->geometry->l2_entry_bytes;

	return q2_l2_entry_at(rebuild->table, index, width) == 0 &&
	       q2_l2_subclusters_at(rebuild->table, index, width) == 0;
}

/* entries.c. Sets an entry of the table in memory. */
void q2_rebuild_set(struct q2_rebuild *rebuild, uint64_t index, uint64_t entry,
		    uint64_t subclusters);

/* Makes a place of the entries that were set since the last time. 0, or -1 with err filled. */
int q2_rebuild_tell(struct q2_rebuild *rebuild, unsigned confidence, const char *text);

/* Reads where L1 tables of snapshots are; sets entries that their tables have. Likewise. */
int q2_rebuild_read_snapshots(struct q2_rebuild *rebuild);
int q2_rebuild_ask_snapshots(struct q2_rebuild *rebuild);

#endif
