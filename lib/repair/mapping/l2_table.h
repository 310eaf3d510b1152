/* SPDX-License-Identifier: MIT */
/* Mends all entries of one L2 table, with one write. */
#ifndef Q2_REPAIR_L2_TABLE_H
#define Q2_REPAIR_L2_TABLE_H

#include "codec/inflate.h"
#include "repair/mapping/l2_faults.h"
#include "repair/mapping/l2_tell.h"
#include "repair/mapping/l2_users.h"
#include "repair/mapping/l2_uses.h"

/* A table with faulty entries, by the first L1 entry that leads to it. */
struct q2_l2_sick {
	uint64_t offset_bytes;
	uint64_t shared_by; /* L1 entries that lead to it */
	uint32_t list, l1_index;
};

struct q2_l2_mender {
	struct q2_repair *repair;
	struct q2_entries entries;
	struct q2_uses uses;
	struct q2_teller teller;
	struct q2_l2_users users;
	/* What was done to the table at hand, and which is the last of each kind, from 1. */
	struct q2_entry_told *done;
	size_t done_count, done_capacity;
	size_t last[Q2_PROBLEM_NUMBERS];
	uint8_t *table; /* a cluster */
	uint8_t *data;  /* what is looked at of other clusters: two clusters and a sector */
	struct q2_inflater *inflater;
};

/* Both return 0, or -1 with repair->err filled. Release it in any case. */
int q2_l2_mender_init(struct q2_l2_mender *mender, struct q2_repair *repair);
void q2_l2_mender_release(struct q2_l2_mender *mender);

/* Asks what has to be known before q2_l2_mender_mend(): adds to mender->uses. */
int q2_l2_mender_ask(struct q2_l2_mender *mender, const struct q2_l2_sick *sick);
/* Plans and tells what can be done. */
int q2_l2_mender_mend(struct q2_l2_mender *mender, const struct q2_l2_sick *sick);

/*
 * Gives each L1 entry but one that leads to a table of an image with a data file a table of its own.
 * *planned: whether that was done, so that the table is mended in the next round. (l2_apart.c)
 */
int q2_l2_apart(struct q2_l2_mender *mender, const struct q2_l2_sick *sick, bool *planned);

#endif
