/* SPDX-License-Identifier: MIT */
/*
 * What dirty bitmaps say of the places of L2 tables. A bitmap has the ranges that the guest wrote
 * since the bitmap began, and what was written has entries. So tables that lie side by side are
 * tried at all places where they have room, and the place is theirs where their entries and the dirty
 * ranges agree, and nowhere else as well. A bitmap that is all dirty, or that began late, agrees with
 * no place more than with others, and says nothing.
 */
#include "rescue/lost/bitmaps.h"

#include <stdlib.h>

#include "base/error.h"

#include <qcow2/bitmap.h>
#include <qcow2/bitmap_directory.h>

/* Bitmaps that are read. */
#define BITMAPS_MOST 64
/* Places of tables that are tried in all. */
#define STEPS_MOST (UINT64_C(1) << 22)
/* Chains that got a place take it from others, so all are asked again. */
#define ROUNDS_MOST 64

/* Fewer units may agree by chance. */
#define HITS_MANY 4

/* What one unit that is dirty but not mapped counts. */
#define UNMAPPED_WEIGHT 32
/* How much worse the next best place has to be. */
#define GAP_LEAST 2

#define CONFIDENCE_EDGES 90
#define CONFIDENCE_SOME  75
#define CONFIDENCE_WEAK  60

/* The best place of tables that lie side by side. */
struct best {
	struct q2_lost_fit fit;
	int64_t second; /* what speaks against the next best place; INT64_MAX: there is none */
	uint32_t slot;  /* of the first one, or Q2_LOST_NONE */
};

struct asking {
	struct q2_lost_state *state;
	struct q2_lost_dirty dirty;
	uint32_t *claims;  /* for each place, how many chains want it */
	struct best *best; /* of the chain that begins with a table */
	uint64_t steps_left;
};

/* ---- the bitmaps ---- */

/* Whether a bitmap has bits that are fine enough to tell one place from the next. */
static bool is_fine(const struct q2_lost_state *state, const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_geometry *geometry = state->geometry;

	return !bitmap->cut && bitmap->entry.granularity_bits < 63 &&
	       UINT64_C(1) << bitmap->entry.granularity_bits <=
		       geometry->cluster_size_bytes * geometry->l2_entries;
}

/* Notes the ranges of a bitmap, or none of them if it is damaged. */
static int read_bitmap(struct asking *asking, const struct qcow2_bitmap *bitmap)
{
	struct q2_lost_state *state = asking->state;
	struct q2_lost_dirty *dirty = &asking->dirty;
	const size_t before = dirty->runs.count;
	struct qcow2_dirty_extents *extents;
	struct qcow2_dirty_extent extent;
	enum qcow2_error_code code = QCOW2_ERROR_NONE;
	int more;

	if (qcow2_dirty_extents_open(state->image, &bitmap->entry, 0, &extents, state->err))
		return state->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	while ((more = qcow2_dirty_extents_next(extents, &extent, state->err)) > 0 &&
	       code == QCOW2_ERROR_NONE)
		if (extent.dirty)
			code = q2_lost_dirty_add(dirty, extent.start_bytes, extent.length_bytes);
	qcow2_dirty_extents_close(extents);
	if (code == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(state->err);
	if (more < 0 &&
	    (state->err->code == QCOW2_ERROR_MEMORY || state->err->code == QCOW2_ERROR_IO))
		return -1;
	if (more < 0 || code != QCOW2_ERROR_NONE)
		dirty->runs.count = before;
	else if (bitmap->entry.flags & QCOW2_BITMAP_IN_USE)
		dirty->stale = true;
	return 0;
}

static int note_granularity(struct asking *asking, const struct qcow2_bitmap *bitmap)
{
	if (asking->dirty.unit_bits < bitmap->entry.granularity_bits)
		asking->dirty.unit_bits = bitmap->entry.granularity_bits;
	return 0;
}

static int visit_bitmaps(struct asking *asking,
			 int (*visit)(struct asking *asking, const struct qcow2_bitmap *bitmap))
{
	struct q2_lost_state *state = asking->state;
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	int more = 0;

	if (qcow2_bitmaps_open(state->image, &bitmaps, state->err))
		return state->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	for (unsigned i = 0; i < BITMAPS_MOST; i++) {
		more = qcow2_bitmaps_next(bitmaps, &bitmap, state->err);
		if (more <= 0)
			break;
		if (is_fine(state, bitmap) && visit(asking, bitmap)) {
			qcow2_bitmaps_close(bitmaps);
			return -1;
		}
	}
	qcow2_bitmaps_close(bitmaps);
	return more < 0 && state->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
}

/* ---- places ---- */

static bool is_left(const struct q2_lost_table *table)
{
	return table->orphan && !table->shared && table->slot == Q2_LOST_NONE;
}

/* The table behind this one in its chain, if it has no place, either. */
static uint32_t next_left(const struct q2_lost_state *state, uint32_t table)
{
	uint32_t next = state->tables[table].next;

	return next != Q2_LOST_NONE && is_left(&state->tables[next]) ? next : Q2_LOST_NONE;
}

static bool begins_chain(const struct q2_lost_state *state, uint32_t table)
{
	uint32_t before = state->tables[table].before;

	return is_left(&state->tables[table]) &&
	       (before == Q2_LOST_NONE || !is_left(&state->tables[before]));
}

/* How a chain fits at a place. False: it has no room there, or there were too many trials. */
static bool try_place(struct asking *asking, uint32_t table, uint32_t slot, struct q2_lost_fit *fit)
{
	*fit = (struct q2_lost_fit){0};
	for (; table != Q2_LOST_NONE; table = next_left(asking->state, table), slot++) {
		if (asking->steps_left == 0)
			return false;
		asking->steps_left--;
		if (!q2_lost_is_free(asking->state, table, slot))
			return false;
		q2_lost_dirty_compare(&asking->dirty, table, slot, fit);
	}
	return true;
}

/* What speaks against a place. Of data without a dirty bit, nothing says when it was written. */
static int64_t against(const struct q2_lost_fit *fit)
{
	return UNMAPPED_WEIGHT * (int64_t)fit->unmapped + (int64_t)fit->old - (int64_t)fit->hits;
}

static void find_best(struct asking *asking, uint32_t table)
{
	struct best *best = &asking->best[table];
	struct q2_lost_fit fit;

	*best = (struct best){.second = INT64_MAX, .slot = Q2_LOST_NONE};
	for (uint32_t slot = 0; slot < asking->state->slot_count; slot++) {
		if (!try_place(asking, table, slot, &fit))
			continue;
		if (best->slot == Q2_LOST_NONE || against(&fit) < against(&best->fit)) {
			if (best->slot != Q2_LOST_NONE)
				best->second = against(&best->fit);
			best->fit = fit;
			best->slot = slot;
		} else if (against(&fit) < best->second) {
			best->second = against(&fit);
		}
	}
}

/*
 * Whether bitmaps and entries agree so well, and nowhere else as well, that the place is known. If
 * there is no other place, that says more than bitmaps do, and another stage tells it. Most
 * of what is mapped has to be dirty, unless late is set, and the begin or end of the data counts.
 */
static bool is_known(const struct best *best, bool late)
{
	const struct q2_lost_fit *fit = &best->fit;

	return best->slot != Q2_LOST_NONE && fit->hits > 0 && fit->unmapped <= fit->hits / 64 &&
	       (late ? fit->has_gaps : fit->old <= fit->hits / 8) && best->second != INT64_MAX &&
	       best->second >= against(fit) + GAP_LEAST;
}

static void count_claims(struct asking *asking, uint32_t table, int32_t change)
{
	uint32_t slot = asking->best[table].slot;

	for (; table != Q2_LOST_NONE; table = next_left(asking->state, table))
		asking->claims[slot++] += (uint32_t)change;
}

static bool is_contested(const struct asking *asking, uint32_t table)
{
	uint32_t slot = asking->best[table].slot;

	for (; table != Q2_LOST_NONE; table = next_left(asking->state, table))
		if (asking->claims[slot++] > 1)
			return true;
	return false;
}

static int take_chain(struct asking *asking, uint32_t table)
{
	struct q2_lost_state *state = asking->state;
	const struct best *best = &asking->best[table];
	struct q2_lost_vote vote = {.slot = best->slot,
				    .why = Q2_WHY_BITMAPS,
				    .confidence = CONFIDENCE_EDGES,
				    .detail = best->fit.hits + best->fit.old,
				    .agree = best->fit.hits};

	/* Tables that are full have no edges that would have to be where those of dirty ranges are. */
	if (!best->fit.has_gaps || best->fit.hits < HITS_MANY)
		vote.confidence = CONFIDENCE_WEAK;
	else if (asking->dirty.stale || best->fit.old + best->fit.unmapped > 0)
		vote.confidence = CONFIDENCE_SOME;
	if (best->fit.old > best->fit.hits / 8)
		vote.confidence = CONFIDENCE_WEAK;
	while (table != Q2_LOST_NONE) {
		uint32_t next = next_left(state, table);

		vote.table = table;
		if (q2_lost_take(state, &vote))
			return -1;
		vote.slot++;
		table = next;
	}
	return 0;
}

/* Gives places to the chains of which they are known; *given: how many. */
static int give_places(struct asking *asking, bool late, uint32_t *given)
{
	struct q2_lost_state *state = asking->state;

	for (uint32_t i = 0; i < state->table_count; i++) {
		asking->best[i].slot = Q2_LOST_NONE;
		if (!begins_chain(state, i))
			continue;
		find_best(asking, i);
		if (!is_known(&asking->best[i], late))
			asking->best[i].slot = Q2_LOST_NONE;
		else
			count_claims(asking, i, 1);
	}
	*given = 0;
	/* Where the trials ran out, nothing is known of other places. */
	if (asking->steps_left == 0)
		return 0;
	for (uint32_t i = 0; i < state->table_count; i++)
		if (asking->best[i].slot != Q2_LOST_NONE && is_contested(asking, i))
			asking->best[i].fit.hits = 0;
	for (uint32_t i = 0; i < state->table_count; i++) {
		if (asking->best[i].slot == Q2_LOST_NONE)
			continue;
		count_claims(asking, i, -1);
		if (asking->best[i].fit.hits == 0)
			continue;
		if (take_chain(asking, i))
			return -1;
		++*given;
	}
	return 0;
}

static int run(struct asking *asking)
{
	uint32_t given = 1;
	bool late = false;

	if (visit_bitmaps(asking, note_granularity) || q2_lost_dirty_begin(&asking->dirty) ||
	    visit_bitmaps(asking, read_bitmap))
		return -1;
	if (asking->dirty.runs.count == 0)
		return 0;
	q2_lost_dirty_finish(&asking->dirty);
	for (unsigned i = 0; i < ROUNDS_MOST && (given > 0 || !late); i++) {
		late = given == 0;
		if (give_places(asking, late, &given))
			return -1;
	}
	return 0;
}

int q2_lost_ask_bitmaps(struct q2_lost_state *state)
{
	struct asking asking = {.state = state, .steps_left = STEPS_MOST};
	int failed;

	if (!(state->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	q2_lost_dirty_init(&asking.dirty, state);
	asking.claims = q2_memory_get(&state->memory, state->slot_count, sizeof(*asking.claims));
	asking.best = q2_memory_get(&state->memory, state->table_count, sizeof(*asking.best));
	if (asking.claims && asking.best)
		failed = run(&asking);
	else
		failed = q2_memory_fail(&state->memory, state->err);
	q2_memory_put(&state->memory, asking.claims, state->slot_count, sizeof(*asking.claims));
	q2_memory_put(&state->memory, asking.best, state->table_count, sizeof(*asking.best));
	q2_lost_dirty_release(&asking.dirty);
	return failed;
}
