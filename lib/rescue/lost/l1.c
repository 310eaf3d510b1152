/* SPDX-License-Identifier: MIT */
/*
 * What L1 tables that are there say of the places of L2 tables: older ones of the active image, from
 * before it grew, and that which the header would lead to if it led to the right place.
 */
#include "rescue/lost/state.h"

/* What speaks for one cluster of an old L1 table. */
struct agreement {
	uint64_t fits,
		fails; /* entries that lead to an orphan for which the place is free, or not */
};

/* Calls visit for each entry of a cluster of an old L1 table that leads to an orphan. */
static int visit_entries(struct q2_lost_state *state, uint64_t at_bytes, uint64_t first,
			 int (*visit)(struct q2_lost_state *state, const struct q2_lost_vote *vote,
				      struct agreement *agreement),
			 struct agreement *agreement)
{
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t count =
		qcow2_table_begin(state->words, at_bytes, geometry->cluster_size_bytes / 8);

	for (uint64_t i = 0; i < count && first + i < state->slot_count; i++) {
		struct q2_lost_vote vote = {.slot = (uint32_t)(first + i), .detail = at_bytes};
		uint64_t entry;

		if (qcow2_table_entry(state->words, i, &entry, state->err))
			return -1;
		entry &= QCOW2_ENTRY_MASK(l1_entry, offset);
		if (entry == 0)
			continue;
		vote.why = Q2_WHY_OLD_L1;
		vote.table = q2_lost_table_at(state, entry >> geometry->cluster_bits);
		if (vote.table == Q2_LOST_NONE || !state->tables[vote.table].orphan)
			continue;
		if (visit(state, &vote, agreement))
			return -1;
	}
	return 0;
}

static int count_entry(struct q2_lost_state *state, const struct q2_lost_vote *vote,
		       struct agreement *agreement)
{
	if (q2_lost_is_free(state, vote->table, vote->slot))
		agreement->fits++;
	else
		agreement->fails++;
	return 0;
}

static int vote_entry(struct q2_lost_state *state, const struct q2_lost_vote *vote,
		      struct agreement *agreement)
{
	struct q2_lost_vote mine = *vote;

	mine.agree = agreement->fits;
	/* One entry fits by chance; what contradicts may be a piece of another table. */
	mine.confidence = agreement->fails > 0 || (agreement->fits < 2 && state->slot_count > 1)
				  ? Q2_LOST_POSSIBLE
				  : Q2_LOST_CERTAIN;
	return q2_lost_vote(state, &mine);
}

/* Clusters side by side are one L1 table: entries of the second one follow those of the first. */
static int ask_old_l1s(struct q2_lost_state *state)
{
	const uint64_t cluster_bytes = state->geometry->cluster_size_bytes;
	uint64_t first = 0;

	for (size_t i = 0; i < state->old_l1_count; i++) {
		struct agreement agreement = {0};

		first = i > 0 && state->old_l1s[i] == state->old_l1s[i - 1] + cluster_bytes
				? first + cluster_bytes / 8
				: 0;
		if (visit_entries(state, state->old_l1s[i], first, count_entry, &agreement) ||
		    visit_entries(state, state->old_l1s[i], first, vote_entry, &agreement))
			return -1;
	}
	return 0;
}

/*
 * In a data file, raw or not, QEMU puts each cluster where the guest has it. Whether the image is
 * QEMU's shows in both ends of a table.
 */
static int ask_data_file(struct q2_lost_state *state)
{
	const struct qcow2_geometry *geometry = state->geometry;

	for (uint32_t i = 0; i < state->table_count && geometry->data_file; i++) {
		const struct q2_lost_table *table = &state->tables[i];
		struct q2_lost_vote vote = {
			.table = i, .confidence = Q2_LOST_CERTAIN, .why = Q2_WHY_DATA_FILE};
		uint64_t first = table->first_bytes >> geometry->cluster_bits;
		uint64_t last = table->last_bytes >> geometry->cluster_bits;

		if (!table->orphan || table->data == 0 || table->falls > 0 ||
		    first / geometry->l2_entries != last / geometry->l2_entries ||
		    first % geometry->l2_entries < table->first_index ||
		    last % geometry->l2_entries > table->last_index ||
		    first / geometry->l2_entries >= state->slot_count)
			continue;
		vote.slot = (uint32_t)(first / geometry->l2_entries);
		if (q2_lost_vote(state, &vote))
			return -1;
	}
	return 0;
}

int q2_lost_ask_l1(struct q2_lost_state *state)
{
	return ask_data_file(state) || ask_old_l1s(state) ? -1 : 0;
}
