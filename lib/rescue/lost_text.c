/* SPDX-License-Identifier: MIT */
/* The evidence in words. */
#include "rescue/lost_state.h"

#include <inttypes.h>
#include <stdio.h>

void q2_lost_explain(const struct q2_lost_state *state, const struct q2_lost_vote *vote, char *text,
		     size_t size)
{
	switch ((enum q2_lost_why)vote->why) {
	case Q2_WHY_SNAPSHOT_L1:
		snprintf(text, size, "snapshot #%" PRIu64 " has this table at this place%s",
			 vote->detail,
			 state->refcounts ? ", and its refcount says that one more entry led to it"
					  : "");
		break;
	case Q2_WHY_SAME_ENTRIES:
		snprintf(text, size,
			 "%" PRIu64 " of its entries are those of the table that snapshot #%" PRIu64
			 " has at this place",
			 vote->agree, vote->detail);
		break;
	case Q2_WHY_OLD_L1:
		snprintf(text, size,
			 "an L1 table at 0x%" PRIx64
			 ", which nothing refers to, has it at this place"
			 " (%" PRIu64 " of its entries fit)",
			 vote->detail, vote->agree);
		break;
	case Q2_WHY_GUEST:
		snprintf(text, size, "%s in its data says where it is on the disk",
			 q2_lost_magic_name(vote->detail));
		break;
	case Q2_WHY_DATA_FILE:
		snprintf(text, size,
			 "it leads to the clusters of the data file that have this place");
		break;
	case Q2_WHY_BEHIND:
		snprintf(text, size,
			 "its data goes on in the file where that of L1 entry %" PRIu64 " ends",
			 vote->detail);
		break;
	case Q2_WHY_BEFORE:
		snprintf(text, size,
			 "its data ends in the file where that of L1 entry %" PRIu64 " goes on",
			 vote->detail);
		break;
	case Q2_WHY_ONLY:
		snprintf(text, size,
			 "it is the only table without a place, and this the only place"
			 " without a table");
		break;
	case Q2_WHY_ORDER:
		snprintf(text, size,
			 "there are as many tables as places here, %" PRIu64
			 ", and this is their order in the file",
			 vote->detail);
		break;
	case Q2_WHY_FITS_LAST:
		snprintf(text, size, "no other table without a place ends before the disk does");
		break;
	case Q2_WHY_FITS_HERE:
		snprintf(text, size,
			 "no other place has room for it and for the tables whose data"
			 " follows its own");
		break;
	case Q2_WHY_BEGIN:
		snprintf(text, size,
			 "no other table without a place has the first cluster of its part,"
			 " and a guest's disk begins with data");
		break;
	case Q2_WHY_ORDER_FIRST:
		snprintf(text, size,
			 "it is the first table in the file that has the first cluster of"
			 " its part, and a guest's disk begins with data");
		break;
	case Q2_WHY_ORDER_SOME:
		snprintf(text, size,
			 "this is the order of the file, but there are %" PRIu64
			 " places here, and another number of tables",
			 vote->detail);
		break;
	}
}
