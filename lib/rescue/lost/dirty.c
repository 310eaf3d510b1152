/* SPDX-License-Identifier: MIT */
/* Compares dirty ranges with what orphans map: see bitmaps.h. */
#include "rescue/lost/bitmaps.h"

#include <stdlib.h>

#include "base/error.h"
#include "format/l2_table.h"

/* Ranges of all bitmaps, and of all tables. What has more says nothing. */
#define RUNS_MOST ((size_t)1 << 20)

void q2_lost_dirty_init(struct q2_lost_dirty *dirty, struct q2_lost_state *state)
{
	*dirty = (struct q2_lost_dirty){.state = state, .unit_bits = state->geometry->cluster_bits};
	q2_vector_init(&dirty->runs, sizeof(struct q2_lost_units), RUNS_MOST);
	q2_vector_init(&dirty->mapped, sizeof(struct q2_lost_units), RUNS_MOST);
}

void q2_lost_dirty_release(struct q2_lost_dirty *dirty)
{
	q2_vector_release(&dirty->runs);
	q2_vector_release(&dirty->mapped);
	q2_memory_put(&dirty->state->memory, dirty->tables, dirty->table_count,
		      sizeof(*dirty->tables));
}

/* Adds units to the runs from first on, which rise: to the last one of them if they touch it. */
static enum qcow2_error_code add(struct q2_vector *runs, size_t first,
				 const struct q2_lost_units *units)
{
	struct q2_lost_units *last =
		runs->count > first ? q2_vector_at(runs, runs->count - 1) : NULL;

	if (!last || last->end < units->first)
		return q2_vector_push(runs, units);
	if (last->end < units->end)
		last->end = units->end;
	return QCOW2_ERROR_NONE;
}

/* Notes the entries of a table that are not 0. */
static int read_mapped(struct q2_lost_dirty *dirty, uint32_t table)
{
	struct q2_lost_state *state = dirty->state;
	const struct qcow2_geometry *geometry = state->geometry;
	const unsigned width = geometry->l2_entry_bytes,
		       bits = dirty->unit_bits - geometry->cluster_bits;
	struct q2_lost_mapped *mapped = &dirty->tables[table];
	enum qcow2_error_code code = QCOW2_ERROR_NONE;

	mapped->first = dirty->mapped.count;
	if (q2_lost_read_cluster(state, state->tables[table].cluster))
		return -1;
	for (uint64_t i = 0; i < geometry->l2_entries && code == QCOW2_ERROR_NONE; i++) {
		const struct q2_lost_units units = {i >> bits, (i >> bits) + 1};

		if (q2_l2_entry_at(state->buffer, i, width) != 0 ||
		    q2_l2_subclusters_at(state->buffer, i, width) != 0)
			code = add(&dirty->mapped, mapped->first, &units);
	}
	mapped->end = dirty->mapped.count;
	for (size_t i = mapped->first; i < mapped->end; i++) {
		const struct q2_lost_units *units = q2_vector_at(&dirty->mapped, i);

		mapped->units += units->end - units->first;
	}
	return code == QCOW2_ERROR_MEMORY ? q2_fail_memory(state->err) : 0;
}

int q2_lost_dirty_begin(struct q2_lost_dirty *dirty)
{
	struct q2_lost_state *state = dirty->state;

	dirty->table_units =
		state->geometry->l2_entries >> (dirty->unit_bits - state->geometry->cluster_bits);
	dirty->table_count = state->table_count;
	dirty->tables = q2_memory_get(&state->memory, dirty->table_count, sizeof(*dirty->tables));
	if (!dirty->tables)
		return q2_memory_fail(&state->memory, state->err);
	for (uint32_t i = 0; i < state->table_count; i++)
		if (state->tables[i].orphan && read_mapped(dirty, i))
			return -1;
	return 0;
}

enum qcow2_error_code q2_lost_dirty_add(struct q2_lost_dirty *dirty, uint64_t start_bytes,
					uint64_t length_bytes)
{
	const struct q2_lost_units units = {start_bytes >> dirty->unit_bits,
					    ((start_bytes + length_bytes - 1) >> dirty->unit_bits) +
						    1};

	return q2_vector_push(&dirty->runs, &units);
}

static int compare_units(const void *a, const void *b)
{
	const struct q2_lost_units *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

void q2_lost_dirty_finish(struct q2_lost_dirty *dirty)
{
	struct q2_vector *runs = &dirty->runs;
	const size_t count = runs->count;

	qsort(runs->data, count, sizeof(struct q2_lost_units), compare_units);
	runs->count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct q2_lost_units units =
			((const struct q2_lost_units *)(const void *)runs->data)[i];

		(void)add(runs, 0, &units);
	}
}

/* The first dirty run that ends behind a unit. */
static size_t find_run(const struct q2_lost_dirty *dirty, uint64_t unit)
{
	size_t low = 0, high = dirty->runs.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct q2_lost_units *run = q2_vector_at(&dirty->runs, middle);

		if (run->end <= unit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t overlap(const struct q2_lost_units *a, const struct q2_lost_units *b)
{
	uint64_t first = a->first > b->first ? a->first : b->first;
	uint64_t end = a->end < b->end ? a->end : b->end;

	return first < end ? end - first : 0;
}

void q2_lost_dirty_compare(const struct q2_lost_dirty *dirty, uint32_t table, uint32_t slot,
			   struct q2_lost_fit *fit)
{
	const struct q2_lost_mapped *mapped = &dirty->tables[table];
	const struct q2_lost_units place = {slot * dirty->table_units,
					    (slot + UINT64_C(1)) * dirty->table_units};
	uint64_t dirty_units = 0, hits = 0;
	size_t at = mapped->first;

	for (size_t i = find_run(dirty, place.first); i < dirty->runs.count; i++) {
		const struct q2_lost_units *run = q2_vector_at(&dirty->runs, i);

		if (run->first >= place.end)
			break;
		dirty_units += overlap(run, &place);
		while (at < mapped->end) {
			const struct q2_lost_units *units = q2_vector_at(&dirty->mapped, at);
			const struct q2_lost_units there = {place.first + units->first,
							    place.first + units->end};

			hits += overlap(run, &there);
			if (there.end > run->end)
				break;
			at++;
		}
	}
	fit->hits += hits;
	fit->old += mapped->units - hits;
	fit->unmapped += dirty_units - hits;
	fit->has_gaps |= mapped->units < dirty->table_units;
}
