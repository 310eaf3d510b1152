/* SPDX-License-Identifier: MIT */
/* Which table belongs to which place: what the stages say, and who gets it. */
#include "rescue/lost/state.h"

#include <stdlib.h>

#include "base/error.h"

bool q2_lost_is_free(const struct q2_lost_state *state, uint32_t table, uint32_t slot)
{
	const struct qcow2_geometry *geometry = state->geometry;
	const struct q2_lost_table *orphan = &state->tables[table];
	uint64_t bytes = geometry->virtual_size_bytes, cluster;

	if (slot >= state->slot_count || state->slots[slot].kind != Q2_SLOT_HOLE ||
	    !orphan->orphan || orphan->slot != Q2_LOST_NONE)
		return false;
	/* What lies past the end of the disk is nobody's in the active image. */
	cluster = (uint64_t)slot * geometry->l2_entries + orphan->last_index;
	return bytes > 0 && cluster <= (bytes - 1) >> geometry->cluster_bits;
}

int q2_lost_vote(struct q2_lost_state *state, const struct q2_lost_vote *vote)
{
	enum qcow2_error_code code = q2_vector_push(&state->votes, vote);

	/* The cap: what comes later is left out. */
	if (code == QCOW2_ERROR_NONE || code == QCOW2_ERROR_LIMIT)
		return 0;
	return q2_fail_memory(state->err);
}

static void give(struct q2_lost_state *state, struct q2_lost_vote *vote)
{
	struct q2_lost_slot *slot = &state->slots[vote->slot];

	if (!q2_lost_is_free(state, vote->table, vote->slot))
		return;
	vote->taken = true;
	state->tables[vote->table].slot = vote->slot;
	state->tables[vote->table].confidence = vote->confidence;
	slot->table = vote->table;
	slot->kind = Q2_SLOT_PLACED;
}

int q2_lost_take(struct q2_lost_state *state, const struct q2_lost_vote *vote)
{
	struct q2_lost_vote mine = *vote;

	give(state, &mine);
	return mine.taken ? q2_lost_vote(state, &mine) : 0;
}

/* The best first; then as the file has them, so that the result depends on the image alone. */
static int compare_votes(const void *a, const void *b)
{
	const struct q2_lost_vote *x = a, *y = b;

	if (x->confidence != y->confidence)
		return x->confidence > y->confidence ? -1 : 1;
	if (x->agree != y->agree)
		return x->agree > y->agree ? -1 : 1;
	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

void q2_lost_settle(struct q2_lost_state *state)
{
	size_t count = state->votes.count - state->settled;
	struct q2_lost_vote *votes = q2_vector_at(&state->votes, state->settled);

	if (count > 1)
		qsort(votes, count, sizeof(*votes), compare_votes);
	for (size_t i = 0; i < count; i++)
		if (votes[i].confidence >= Q2_LOST_LIKELY)
			give(state, &votes[i]);
	state->settled = state->votes.count;
}

void q2_lost_settle_rest(struct q2_lost_state *state)
{
	for (size_t i = 0; i < state->votes.count; i++)
		give(state, q2_vector_at(&state->votes, i));
}
