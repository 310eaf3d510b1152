/* SPDX-License-Identifier: MIT */
/*
 * What snapshots say of the places of L2 tables. A table that was not written to since is the
 * snapshot's, too: its refcount shows that one more entry led to it. One that was written to is a
 * copy, in which all other entries are as they were; and no cluster belongs to two places of a disk.
 */
#include "rescue/lost/state.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "format/l2_table.h"

/* What is read of L1 tables of snapshots, and kept of their L2 tables. */
#define L1_ENTRIES_MOST (UINT64_C(1) << 24)
#define SAMPLES_MOST    ((size_t)1 << 21)
#define SAMPLES_LEAST   16
#define SAMPLES_A_TABLE 1024
#define TABLES_MOST     ((size_t)1 << 20)
/* Places that one orphan resembles: more than one is a fault of the image. */
#define PLACES_MOST 4

/* An entry of a table of a snapshot, for a place where the active image has a hole. */
struct sample {
	uint64_t target_bytes;
	uint32_t index, slot, snapshot;
};

struct asking {
	struct q2_lost_state *state;
	struct q2_vector samples;
	struct q2_name_set seen; /* tables of which there are samples */
	uint64_t left;           /* L1 entries that may still be read */
	uint64_t per_table;
};

static int sample_table(struct asking *asking, uint64_t table_bytes, struct sample sample)
{
	struct q2_lost_state *state = asking->state;
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t step = geometry->l2_entries / asking->per_table, earlier, end;

	if (q2_name_set_insert(&asking->seen, table_bytes, sample.slot, &earlier) ==
	    QCOW2_ERROR_MEMORY)
		return q2_fail_memory(state->err);
	if (earlier != Q2_NAME_SET_NEW)
		return 0;
	if (q2_lost_read_cluster(state, table_bytes >> geometry->cluster_bits))
		return -1;
	for (uint64_t i = 0; i < geometry->l2_entries; i += step ? step : 1) {
		uint64_t entry = q2_l2_entry_at(state->buffer, i, geometry->l2_entry_bytes);

		if (!q2_lost_target(geometry, entry, &sample.target_bytes, &end))
			continue;
		sample.index = (uint32_t)i;
		if (q2_vector_push(&asking->samples, &sample) == QCOW2_ERROR_MEMORY)
			return q2_fail_memory(state->err);
	}
	return 0;
}

/* A snapshot has a table where the active image has a hole. */
static int take_entry(struct asking *asking, uint64_t table_bytes, uint32_t slot, uint32_t snapshot)
{
	struct q2_lost_state *state = asking->state;
	struct q2_lost_vote vote = {.slot = slot,
				    .detail = snapshot,
				    .confidence = Q2_LOST_CERTAIN,
				    .why = Q2_WHY_SNAPSHOT_L1};
	uint64_t cluster = table_bytes >> state->geometry->cluster_bits;
	bool lacks = false;

	vote.table = q2_lost_table_at(state, cluster);
	if (q2_lost_lacks(state, cluster, &lacks))
		return -1;
	if (!state->refcounts)
		vote.confidence = Q2_LOST_LIKELY + 5;
	if (vote.table != Q2_LOST_NONE && (lacks || !state->refcounts) &&
	    q2_lost_vote(state, &vote))
		return -1;
	return sample_table(asking, table_bytes,
			    (struct sample){.slot = slot, .snapshot = snapshot});
}

static int read_l1(struct asking *asking, const struct qcow2_snapshot *snapshot)
{
	struct q2_lost_state *state = asking->state;
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t count = snapshot->header.l1_size, entry;

	if (count > state->slot_count)
		count = state->slot_count;
	count = qcow2_table_begin(state->words, snapshot->header.l1_table_offset, count);
	for (uint64_t i = 0; i < count && asking->left > 0; i++) {
		asking->left--;
		if (state->slots[i].kind != Q2_SLOT_HOLE)
			continue;
		if (qcow2_table_entry(state->words, i, &entry, state->err))
			return -1;
		entry &= QCOW2_ENTRY_MASK(l1_entry, offset);
		if (entry == 0 || entry % geometry->cluster_size_bytes != 0 ||
		    entry >= geometry->file_size_bytes)
			continue;
		if (take_entry(asking, entry, (uint32_t)i, (uint32_t)snapshot->index))
			return -1;
	}
	return 0;
}

static int read_snapshots(struct asking *asking)
{
	struct q2_lost_state *state = asking->state;
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more;

	if (qcow2_snapshots_open(state->image, &snapshots, state->err))
		return q2_is_fault(state->err) ? -1 : 0;
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, state->err)) > 0)
		if (read_l1(asking, snapshot)) {
			more = -1;
			break;
		}
	qcow2_snapshots_close(snapshots);
	return more;
}

static int compare_samples(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	if (x->target_bytes != y->target_bytes)
		return x->target_bytes < y->target_bytes ? -1 : 1;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* The first sample of an entry, or NULL. */
static const struct sample *find_sample(const struct asking *asking, uint64_t target_bytes,
					uint32_t index)
{
	const struct sample wanted = {.target_bytes = target_bytes, .index = index};
	const struct sample *samples = q2_vector_at(&asking->samples, 0);
	size_t low = 0, high = asking->samples.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_samples(&samples[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == asking->samples.count || samples[low].target_bytes != target_bytes ||
	    samples[low].index != index)
		return NULL;
	return &samples[low];
}

static void count_place(struct q2_lost_vote *votes, unsigned *count, const struct sample *sample)
{
	unsigned i = 0;

	while (i < *count && votes[i].slot != sample->slot)
		i++;
	if (i == PLACES_MOST)
		return;
	if (i == *count) {
		votes[(*count)++].slot = sample->slot;
		votes[i].detail = sample->snapshot;
	}
	votes[i].agree++;
}

/* Compares an orphan with the samples of all tables of snapshots. */
static int compare_table(struct asking *asking, uint32_t table)
{
	struct q2_lost_state *state = asking->state;
	const struct qcow2_geometry *geometry = state->geometry;
	struct q2_lost_vote votes[PLACES_MOST] = {{0}};
	unsigned count = 0;

	if (q2_lost_read_cluster(state, state->tables[table].cluster))
		return -1;
	for (uint32_t i = 0; i < geometry->l2_entries; i++) {
		uint64_t entry = q2_l2_entry_at(state->buffer, i, geometry->l2_entry_bytes);
		const struct sample *sample;
		uint64_t begin, end;

		if (!q2_lost_target(geometry, entry, &begin, &end))
			continue;
		sample = find_sample(asking, begin, i);
		if (sample)
			count_place(votes, &count, sample);
	}
	for (unsigned i = 0; i < count; i++) {
		votes[i].table = table;
		votes[i].why = Q2_WHY_SAME_ENTRIES;
		votes[i].confidence = count == 1 ? Q2_LOST_CERTAIN + 2 : Q2_LOST_LIKELY;
		if (q2_lost_vote(state, &votes[i]))
			return -1;
	}
	return 0;
}

static int compare_tables(struct asking *asking)
{
	struct q2_lost_state *state = asking->state;

	if (asking->samples.count == 0)
		return 0;
	qsort(asking->samples.data, asking->samples.count, sizeof(struct sample), compare_samples);
	for (uint32_t i = 0; i < state->table_count; i++)
		if (state->tables[i].orphan && !state->tables[i].shared && compare_table(asking, i))
			return -1;
	return 0;
}

int q2_lost_ask_snapshots(struct q2_lost_state *state)
{
	struct asking asking = {.state = state, .left = L1_ENTRIES_MOST};
	uint64_t pairs = (uint64_t)state->holes * state->header->nb_snapshots;
	int failed;

	if (pairs == 0)
		return 0;
	asking.per_table = SAMPLES_MOST / pairs;
	if (asking.per_table < SAMPLES_LEAST)
		asking.per_table = SAMPLES_LEAST;
	if (asking.per_table > SAMPLES_A_TABLE)
		asking.per_table = SAMPLES_A_TABLE;
	q2_vector_init(&asking.samples, sizeof(struct sample), SAMPLES_MOST);
	q2_name_set_init(&asking.seen, TABLES_MOST);
	failed = read_snapshots(&asking) || compare_tables(&asking);
	q2_name_set_release(&asking.seen);
	q2_vector_release(&asking.samples);
	return failed ? -1 : 0;
}
