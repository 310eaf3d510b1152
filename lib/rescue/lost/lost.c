/* SPDX-License-Identifier: MIT */
/* Drives the search for lost mappings, and makes places of what the stages say: see lost.h. */
#include "rescue/lost/state.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/extensions.h"
#include "image/guest.h"

#define VOTES_MOST ((size_t)1 << 22)

static int begin(struct q2_lost_state *state)
{
	const struct qcow2_geometry *geometry = state->geometry;
	struct qcow2_extension extension;

	state->header = qcow2_image_header(state->image);
	state->source = qcow2_image_source(state->image);
	state->memory.user = "the search for lost tables";
	state->memory.limit_bytes = state->how->memory_limit_bytes ? state->how->memory_limit_bytes
								   : QCOW2_CLAIMS_MEMORY_BYTES;
	state->file_clusters =
		q2_div_ceil_u64(geometry->file_size_bytes, geometry->cluster_size_bytes);
	state->has_bitmaps = q2_find_extension(state->image, QCOW2_EXTENSION_BITMAPS, &extension);
	state->buffer = q2_memory_get(&state->memory, geometry->cluster_size_bytes, 1);
	if (!state->buffer)
		return q2_memory_fail(&state->memory, state->err);
	if (state->file_clusters >> 48 != 0)
		return q2_fail(state->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the file has more than 2^48 clusters");
	return 0;
}

/* What nothing refers to is looked for only if something may have referred to it. */
static int place_tables(struct q2_lost_state *state)
{
	if (state->holes == 0 || state->lost->orphans == 0)
		return 0;
	if (q2_lost_find_neighbours(state) || q2_lost_ask_l1(state) || q2_lost_ask_snapshots(state))
		return -1;
	if (state->how->look_at_guest && q2_lost_ask_guest(state))
		return -1;
	q2_lost_settle(state);
	if (q2_lost_ask_neighbours(state) || q2_lost_ask_bitmaps(state) ||
	    q2_lost_ask_neighbours(state) || q2_lost_ask_order(state))
		return -1;
	q2_lost_settle_rest(state);
	return 0;
}

/* Whether a vote is told: it was followed, or its table has no place so far. */
static bool is_told(const struct q2_lost_state *state, const struct q2_lost_vote *vote)
{
	return vote->taken || state->tables[vote->table].slot == Q2_LOST_NONE ||
	       vote->confidence > Q2_LOST_POSSIBLE;
}

static int tell_vote(struct q2_lost_state *state, const struct q2_lost_vote *vote)
{
	const struct qcow2_geometry *geometry = state->geometry;
	const struct q2_lost_table *table = &state->tables[vote->table];
	struct q2_guest_range guest =
		q2_guest_l1(geometry, geometry->virtual_size_bytes, vote->slot, 1);
	unsigned least =
		state->how->confidence_least ? state->how->confidence_least : Q2_LOST_LIKELY;
	struct q2_lost_place place = {
		.public = {
			.size = sizeof(place.public),
			.l1_index = vote->slot,
			.guest_byte = guest.byte,
			.guest_length_bytes = guest.length_bytes,
			.l2_table = {table->cluster << geometry->cluster_bits},
			.clusters = table->data,
			.confidence = vote->confidence,
			.planned = vote->taken && vote->confidence >= least,
		}};

	uint64_t refcount;

	if (q2_lost_refcount(state, table->cluster, &refcount))
		return -1;
	place.copied = refcount == 1;
	q2_lost_explain(state, vote, place.public.text, sizeof(place.public.text));
	if (place.public.planned) {
		/* Tables of snapshots are no orphans, but go to places as well. */
		state->lost->unplaced -= !table->shared;
		state->lost->planned++;
		state->lost->mapped_clusters += table->data;
	}
	return q2_vector_push(&state->lost->places, &place) == QCOW2_ERROR_MEMORY
		       ? q2_fail_memory(state->err)
		       : 0;
}

static int tell_votes(struct q2_lost_state *state)
{
	for (size_t i = 0; i < state->votes.count; i++) {
		const struct q2_lost_vote *vote = q2_vector_at(&state->votes, i);

		if (is_told(state, vote) && tell_vote(state, vote))
			return -1;
	}
	return 0;
}

/* By place; what is planned comes first, then the best evidence. */
static int compare_places(const void *a, const void *b)
{
	const struct qcow2_rescue_table *x = &((const struct q2_lost_place *)a)->public;
	const struct qcow2_rescue_table *y = &((const struct q2_lost_place *)b)->public;

	if (x->l1_index != y->l1_index)
		return x->l1_index < y->l1_index ? -1 : 1;
	if (x->planned != y->planned)
		return x->planned ? -1 : 1;
	if (x->confidence != y->confidence)
		return x->confidence > y->confidence ? -1 : 1;
	return x->l2_table.byte < y->l2_table.byte ? -1 : x->l2_table.byte > y->l2_table.byte;
}

static int run(struct q2_lost_state *state)
{
	struct q2_lost *lost = state->lost;

	if (begin(state) || q2_lost_count(state) || q2_lost_read_l1(state) ||
	    q2_lost_read_tables(state))
		return -1;
	lost->holes = state->holes;
	lost->unplaced = lost->orphans;
	lost->has_refcounts = state->refcounts;
	for (uint32_t i = 0; i < state->slot_count; i++)
		if (state->slots[i].kind == Q2_SLOT_LIVE)
			lost->mapped_clusters += state->tables[state->slots[i].table].data;
	if (place_tables(state) || tell_votes(state) || q2_lost_rebuild(state))
		return -1;
	if (lost->places.count > 1)
		qsort(lost->places.data, lost->places.count, sizeof(struct q2_lost_place),
		      compare_places);
	return 0;
}

static void release(struct q2_lost_state *state)
{
	struct q2_memory *memory = &state->memory;

	q2_clusters_release(&state->clusters);
	qcow2_table_close(state->words);
	qcow2_table_close(state->refcount_table);
	qcow2_table_close(state->refcount_block);
	q2_memory_put(memory, state->buffer, state->geometry->cluster_size_bytes, 1);
	q2_memory_put(memory, state->slots, state->slot_room, sizeof(*state->slots));
	q2_memory_put(memory, state->tables, state->table_capacity, sizeof(*state->tables));
	q2_memory_put(memory, state->old_l1s, state->old_l1_capacity, sizeof(*state->old_l1s));
	q2_vector_release(&state->votes);
}

int q2_lost_find(struct q2_lost *lost, const struct qcow2_image *image,
		 const struct q2_lost_how *how, struct qcow2_error *err)
{
	struct q2_lost_state *state = q2_alloc(sizeof(*state));
	struct qcow2_error ignored;
	int failed;

	q2_vector_init(&lost->places, sizeof(struct q2_lost_place), VOTES_MOST);
	q2_vector_init(&lost->entries, sizeof(struct q2_lost_entry), VOTES_MOST);
	if (!state)
		return q2_fail_memory(err);
	state->lost = lost;
	state->image = image;
	state->geometry = qcow2_image_geometry(image);
	state->how = how;
	state->err = err ? err : &ignored;
	q2_vector_init(&state->votes, sizeof(struct q2_lost_vote), VOTES_MOST);
	failed = run(state);
	release(state);
	q2_free(state);
	return failed;
}

void q2_lost_release(struct q2_lost *lost)
{
	q2_vector_release(&lost->places);
	q2_vector_release(&lost->entries);
}
