/* SPDX-License-Identifier: MIT */
/* The evidence in words. */
#include "rescue/lost/state.h"

#include <inttypes.h>
#include <stdio.h>

/* Evidence that has no number in it. */
static const char *const fixed[] = {
	[Q2_WHY_DATA_FILE] = "it leads to the clusters of the data file that have this place",
	[Q2_WHY_ONLY] =
		"it is the only table without a place, and this is the only place without a "
		"table",
	[Q2_WHY_FITS_LAST] = "no other table without a place ends before the disk does",
	[Q2_WHY_FITS_HERE] = "no other place has room for it and for the tables whose data follows "
			     "its own",
	[Q2_WHY_BEGIN] = "no other table without a place has the first cluster of its part, and a "
			 "guest's disk begins with data",
	[Q2_WHY_ORDER_FIRST] =
		"it is the first table in the file that has the first cluster of its "
		"part, and a guest's disk begins with data",
};

/* What order and neighbours say. */
static void explain_order(const struct q2_lost_vote *vote, char *text, size_t size)
{
	const uint64_t detail = vote->detail;

	if (vote->why == Q2_WHY_BEHIND)
		snprintf(text, size,
			 "its data goes on in the file where that of L1 entry %" PRIu64 " ends",
			 detail);
	else if (vote->why == Q2_WHY_BEFORE)
		snprintf(text, size,
			 "its data ends in the file where that of L1 entry %" PRIu64 " goes on",
			 detail);
	else if (vote->why == Q2_WHY_ORDER)
		snprintf(text, size,
			 "there are as many tables as places here, %" PRIu64
			 ", and this is their order in the file",
			 detail);
	else
		snprintf(text, size,
			 "this is the order of the file, but there are %" PRIu64
			 " places here, and another number of tables",
			 detail);
}

void q2_lost_explain(const struct q2_lost_state *state, const struct q2_lost_vote *vote, char *text,
		     size_t size)
{
	const uint64_t detail = vote->detail;

	if (vote->why < sizeof(fixed) / sizeof(fixed[0]) && fixed[vote->why])
		snprintf(text, size, "%s", fixed[vote->why]);
	else if (vote->why == Q2_WHY_SNAPSHOT_L1)
		snprintf(text, size, "snapshot #%" PRIu64 " has this table at this place%s", detail,
			 state->refcounts ? ", and its refcount says that one more entry led to it"
					  : "");
	else if (vote->why == Q2_WHY_SAME_ENTRIES)
		snprintf(text, size,
			 "%" PRIu64 " of its entries are those of the table that snapshot #%" PRIu64
			 " has at this place",
			 vote->agree, detail);
	else if (vote->why == Q2_WHY_OLD_L1)
		snprintf(text, size,
			 "an L1 table at 0x%" PRIx64
			 ", which nothing refers to, has it at this place"
			 " (%" PRIu64 " of its entries fit)",
			 detail, vote->agree);
	else if (vote->why == Q2_WHY_BITMAPS)
		snprintf(text, size,
			 "bitmaps have as dirty what it and its neighbours map (%" PRIu64
			 " of %" PRIu64 " parts agree), and nowhere else so well",
			 vote->agree, detail);
	else if (vote->why == Q2_WHY_GUEST)
		snprintf(text, size, "%s in its data says where it is on the disk",
			 q2_lost_magic_name(detail));
	else
		explain_order(vote, text, size);
}
