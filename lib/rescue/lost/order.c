/* SPDX-License-Identifier: MIT */
/*
 * What the order of the file says of the places of L2 tables. A program that writes a disk from its
 * begin to its end makes each table when it comes to it, so tables lie in the order of their places,
 * and the data of one is followed by that of the next.
 */
#include "rescue/lost/state.h"

#include <stdlib.h>

#include "base/error.h"

/* Clusters of metadata that a writer may put between the data of two tables. */
#define GAP_MOST 4
/* Places that are gone through in all: gaps of a hostile image may overlap. */
#define STEPS_MOST (UINT64_C(1) << 24)
/* Fewer places where the guest's disk has a hole do not tell in which order it was written. */
#define JUMPS_LEAST 5
#define FALLS_LEAST 2

#define CONFIDENCE_BESIDE 90
#define CONFIDENCE_ONLY   90
#define CONFIDENCE_ORDER  80
#define CONFIDENCE_CHAIN  85
#define CONFIDENCE_BEGIN  75
#define CONFIDENCE_GUESS  70
#define CONFIDENCE_WEAK   60
#define CONFIDENCE_SOME   30

/* ---- tables whose data is side by side ---- */

struct begin {
	uint64_t bytes;
	uint32_t table;
};

static int compare_begins(const void *a, const void *b)
{
	const struct begin *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? -1 : 1;
	return x->table < y->table ? -1 : x->table > y->table;
}

static bool is_metadata(const struct q2_lost_state *state, uint64_t cluster)
{
	const struct q2_cluster_state uses = q2_clusters_get(&state->clusters, cluster);

	if (uses.count == 0)
		return q2_lost_table_at(state, cluster) != Q2_LOST_NONE;
	return uses.use == QCOW2_USE_METADATA || uses.use == QCOW2_USE_L2_COPIED ||
	       uses.use == QCOW2_USE_L2_SHARED;
}

/* Whether data that begins there goes on where that of a table ends. */
static bool goes_on(const struct q2_lost_state *state, const struct q2_lost_table *table,
		    uint64_t begin_bytes)
{
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t at, end;

	if (begin_bytes <= table->last_bytes)
		return false;
	/* Compressed clusters share sectors, and follow each other without regard to clusters. */
	at = (table->last_end_bytes + geometry->cluster_size_bytes - 1) >> geometry->cluster_bits;
	end = begin_bytes >> geometry->cluster_bits;
	if (end > at + GAP_MOST)
		return false;
	for (; at < end; at++)
		if (geometry->data_file || !is_metadata(state, at))
			return false;
	return true;
}

static void connect(struct q2_lost_state *state, uint32_t number, const struct begin *begins,
		    size_t count)
{
	struct q2_lost_table *table = &state->tables[number];
	size_t low = 0, high = count;

	if (table->data == 0 || table->last_index + 1 != state->geometry->l2_entries)
		return;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (begins[middle].bytes <= table->last_bytes)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count || begins[low].table == number ||
	    state->tables[begins[low].table].before != Q2_LOST_NONE ||
	    !goes_on(state, table, begins[low].bytes))
		return;
	table->next = begins[low].table;
	state->tables[table->next].before = number;
}

int q2_lost_find_neighbours(struct q2_lost_state *state)
{
	struct begin *begins = q2_memory_get(&state->memory, state->table_count, sizeof(*begins));
	size_t count = 0;

	if (!begins)
		return q2_memory_fail(&state->memory, state->err);
	for (uint32_t i = 0; i < state->table_count; i++)
		if (state->tables[i].data > 0 && state->tables[i].first_index == 0)
			begins[count++] = (struct begin){state->tables[i].first_bytes, i};
	qsort(begins, count, sizeof(*begins), compare_begins);
	for (uint32_t i = 0; i < state->table_count; i++)
		connect(state, i, begins, count);
	q2_memory_put(&state->memory, begins, state->table_count, sizeof(*begins));
	return 0;
}

/* Goes on from a table that has a place, as long as the next one can be placed. */
static int place_beside(struct q2_lost_state *state, uint32_t number, bool behind)
{
	for (;;) {
		const struct q2_lost_table *table = &state->tables[number];
		struct q2_lost_vote vote = {
			.table = behind ? table->next : table->before,
			.slot = behind ? table->slot + 1 : table->slot - 1,
			.detail = table->slot,
			.confidence = CONFIDENCE_BESIDE,
			.why = behind ? Q2_WHY_BEHIND : Q2_WHY_BEFORE,
		};

		/* It cannot be surer than where that table is. */
		if (table->confidence < vote.confidence)
			vote.confidence = table->confidence;
		if (vote.table == Q2_LOST_NONE || state->tables[vote.table].shared ||
		    (table->slot == 0 && !behind) || !q2_lost_is_free(state, vote.table, vote.slot))
			return 0;
		if (q2_lost_take(state, &vote))
			return -1;
		number = vote.table;
	}
}

int q2_lost_ask_neighbours(struct q2_lost_state *state)
{
	for (uint32_t i = 0; i < state->table_count; i++)
		if (state->tables[i].slot != Q2_LOST_NONE &&
		    (place_beside(state, i, true) || place_beside(state, i, false)))
			return -1;
	return 0;
}

/* ---- the order of what is left ---- */

/* How the disk was written, as far as the file shows. */
enum written {
	TO_AND_FRO, /* not in the order of the disk */
	UNKNOWN,
	IN_ORDER, /* from the begin to the end */
};

struct order {
	struct q2_lost_state *state;
	uint32_t *holes_before; /* for each place, and one past the last */
	uint32_t *queue;        /* orphans between two tables that have places */
	size_t queued;
	enum written written;
	uint64_t steps_left; /* see STEPS_MOST */
};

static bool is_left(const struct q2_lost_table *table)
{
	return table->orphan && !table->shared && table->slot == Q2_LOST_NONE;
}

/*
 * Where the guest's disk has a hole, the file of a writer in order goes on, and that of another one
 * goes back half the time; few holes prove nothing. Tables that have places lie as their places do.
 */
static enum written how_written(const struct q2_lost_state *state)
{
	const struct q2_lost_table *last_placed = NULL;
	uint64_t jumps = 0, falls = 0;

	for (uint32_t i = 0; i < state->table_count; i++) {
		const struct q2_lost_table *table = &state->tables[i];

		if (table->shared || table->data == 0)
			continue;
		jumps += table->jumps;
		falls += table->falls;
		if (table->slot == Q2_LOST_NONE)
			continue;
		jumps += last_placed != NULL;
		falls += last_placed && table->slot < last_placed->slot;
		last_placed = table;
	}
	if (falls >= FALLS_LEAST && falls * 4 > jumps)
		return TO_AND_FRO;
	return jumps >= JUMPS_LEAST && falls * 16 <= jumps ? IN_ORDER : UNKNOWN;
}

/* The places [first, end) for the tables in the queue. */
struct gap {
	uint32_t first, end, holes;
};

/* How sure it is that tables of the queue belong to the holes of a gap, one after the other. */
static struct q2_lost_vote judge_gap(const struct order *order, const struct gap *gap)
{
	struct q2_lost_vote vote = {
		.confidence = CONFIDENCE_SOME, .why = Q2_WHY_ORDER_SOME, .detail = gap->holes};
	const struct q2_lost_state *state = order->state;
	bool chained = true;

	for (size_t i = 1; i < order->queued; i++)
		chained &= state->tables[order->queue[i]].before == order->queue[i - 1];
	if (order->queued > gap->holes)
		vote.confidence = Q2_LOST_POSSIBLE;
	if (order->queued != gap->holes)
		return vote;
	vote.why = order->queued == 1 ? Q2_WHY_ONLY : Q2_WHY_ORDER;
	if (order->queued == 1)
		vote.confidence = CONFIDENCE_ONLY;
	else if (chained)
		vote.confidence = CONFIDENCE_CHAIN;
	else if (order->written == IN_ORDER)
		vote.confidence = CONFIDENCE_ORDER;
	else if (order->written == UNKNOWN)
		vote.confidence = CONFIDENCE_WEAK;
	return vote;
}

/* Gives the tables of the queue the holes of a gap, and empties it. */
static int fill_gap(struct order *order, uint32_t first, uint32_t end)
{
	struct q2_lost_state *state = order->state;
	struct gap gap = {.first = first, .end = end};
	struct q2_lost_vote vote;
	size_t given = 0;

	if (first < end)
		gap.holes = order->holes_before[end] - order->holes_before[first];
	vote = judge_gap(order, &gap);
	for (uint32_t i = first; i < end && given < order->queued; i++) {
		if (order->steps_left-- <= 1) {
			order->steps_left = 1;
			break;
		}
		if (state->slots[i].kind != Q2_SLOT_HOLE)
			continue;
		vote.slot = i;
		vote.table = order->queue[given++];
		if (q2_lost_take(state, &vote))
			return -1;
	}
	order->queued = 0;
	return 0;
}

/* Between each two tables that have places, in the order of the file, those that have none. */
static int fill_gaps(struct order *order)
{
	struct q2_lost_state *state = order->state;
	uint32_t first = 0;

	for (uint32_t i = 0; i < state->table_count; i++) {
		const struct q2_lost_table *table = &state->tables[i];

		if (is_left(table))
			order->queue[order->queued++] = i;
		if (order->written != IN_ORDER || table->slot == Q2_LOST_NONE || table->shared)
			continue;
		if (order->queued > 0 && fill_gap(order, first, table->slot))
			return -1;
		first = table->slot + 1;
	}
	return order->queued > 0 ? fill_gap(order, first, state->slot_count) : 0;
}

/* Whether all tables whose data goes on from a table find their places free if it gets this one. */
static bool chain_fits(struct order *order, uint32_t table, uint32_t slot)
{
	const struct q2_lost_state *state = order->state;

	for (; table != Q2_LOST_NONE && is_left(&state->tables[table]); slot++) {
		if (order->steps_left-- <= 1) {
			order->steps_left = 1;
			return true;
		}
		if (!q2_lost_is_free(state, table, slot))
			return false;
		table = state->tables[table].next;
	}
	return true;
}

/*
 * The begin of a guest's disk is data, as a rule. So one of the tables that have the first cluster
 * of their part maps it, and that is no table whose data goes on from another one.
 */
static int place_begin(struct order *order)
{
	struct q2_lost_state *state = order->state;
	struct q2_lost_vote vote = {.confidence = CONFIDENCE_BEGIN, .why = Q2_WHY_BEGIN};
	uint32_t count = 0;

	for (uint32_t i = 0; i < state->table_count; i++) {
		const struct q2_lost_table *table = &state->tables[i];

		if (!is_left(table) || table->first_index != 0 || table->before != Q2_LOST_NONE ||
		    !chain_fits(order, i, 0))
			continue;
		if (count++ == 0)
			vote.table = i;
	}
	if (count > 1) {
		vote.confidence = CONFIDENCE_GUESS;
		vote.why = Q2_WHY_ORDER_FIRST;
	}
	if (order->written == TO_AND_FRO)
		vote.confidence = CONFIDENCE_SOME;
	return count > 0 && q2_lost_take(state, &vote) ? -1 : 0;
}

/*
 * If there are as many tables as holes, one of them has the last hole. It ends before the disk does,
 * and the data of no other table follows.
 */
static int place_end(struct order *order)
{
	struct q2_lost_state *state = order->state;
	struct q2_lost_vote vote = {.confidence = CONFIDENCE_ONLY, .why = Q2_WHY_FITS_LAST};
	uint32_t count = 0;

	vote.slot = state->slot_count - 1;
	for (uint32_t i = 0; i < state->table_count && count < 2; i++) {
		if (!is_left(&state->tables[i]) || state->tables[i].next != Q2_LOST_NONE ||
		    !q2_lost_is_free(state, i, vote.slot))
			continue;
		vote.table = i;
		count++;
	}
	return count == 1 && q2_lost_take(state, &vote) ? -1 : 0;
}

/* Tables that have room at one place alone, with those whose data follows. */
static int place_fitting(struct order *order)
{
	struct q2_lost_state *state = order->state;
	struct q2_lost_vote vote = {.confidence = CONFIDENCE_ONLY, .why = Q2_WHY_FITS_HERE};

	for (uint32_t i = 0; i < state->table_count; i++) {
		uint32_t count = 0;

		if (!is_left(&state->tables[i]) || state->tables[i].before != Q2_LOST_NONE)
			continue;
		for (uint32_t slot = 0; slot < state->slot_count && count < 2; slot++) {
			if (order->steps_left-- <= 1) {
				order->steps_left = 1;
				return 0;
			}
			if (!chain_fits(order, i, slot))
				continue;
			vote.slot = slot;
			count++;
		}
		vote.table = i;
		if (count == 1 && q2_lost_take(state, &vote))
			return -1;
	}
	return 0;
}

/* Returns how many orphans are left, and fills order->holes_before. */
static uint64_t count_left(struct order *order, uint64_t *holes)
{
	const struct q2_lost_state *state = order->state;
	uint64_t left = 0;

	*holes = 0;
	for (uint32_t i = 0; i < state->slot_count; i++) {
		order->holes_before[i] = (uint32_t)*holes;
		*holes += state->slots[i].kind == Q2_SLOT_HOLE;
	}
	order->holes_before[state->slot_count] = (uint32_t)*holes;
	for (uint32_t i = 0; i < state->table_count; i++)
		left += is_left(&state->tables[i]);
	return left;
}

static int run(struct order *order)
{
	uint64_t holes, left;

	order->written = how_written(order->state);
	left = count_left(order, &holes);
	if (left == holes && place_end(order))
		return -1;
	if (place_fitting(order) || q2_lost_ask_neighbours(order->state))
		return -1;
	order->written = how_written(order->state);
	left = count_left(order, &holes);
	/* As many as there are holes: then the order of the file says more. */
	if ((left < holes || order->written == TO_AND_FRO) && place_begin(order))
		return -1;
	if (q2_lost_ask_neighbours(order->state))
		return -1;
	left = count_left(order, &holes);
	return left > 0 ? fill_gaps(order) : 0;
}

int q2_lost_ask_order(struct q2_lost_state *state)
{
	struct order order = {.state = state, .steps_left = STEPS_MOST};
	uint64_t places = (uint64_t)state->slot_count + 1;
	int failed;

	order.holes_before = q2_memory_get(&state->memory, places, sizeof(uint32_t));
	order.queue = q2_memory_get(&state->memory, state->table_count, sizeof(uint32_t));
	if (order.holes_before && order.queue)
		failed = run(&order);
	else
		failed = q2_memory_fail(&state->memory, state->err);
	q2_memory_put(&state->memory, order.holes_before, places, sizeof(uint32_t));
	q2_memory_put(&state->memory, order.queue, state->table_count, sizeof(uint32_t));
	return failed;
}
