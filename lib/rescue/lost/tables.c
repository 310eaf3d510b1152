/* SPDX-License-Identifier: MIT */
/*
 * The places of the active L1 table, and the L2 tables that are there: those that it leads to, and
 * orphans. An orphan reads as an L2 table, nothing refers to it, and most of the clusters that it
 * leads to lack a reference. What an orphan that comes earlier in the file leads to is its data,
 * whatever it reads as: the guest may keep images of its own.
 */
#include "base/search.h"
#include "rescue/lost/state.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "format/l2_table.h"

/* More places than QEMU allows an L1 table of 32 MiB to have are not looked at. */
#define SLOTS_MOST   (UINT64_C(1) << 22)
#define TABLES_MOST  ((size_t)1 << 22)
#define OLD_L1S_MOST ((size_t)1 << 16)
/* Entries of a table of which it is tried what they lead to. */
#define TRIALS 64

bool q2_lost_target(const struct qcow2_geometry *geometry, uint64_t entry, uint64_t *begin_bytes,
		    uint64_t *end_bytes)
{
	if (qcow2_l2_is_compressed(entry)) {
		struct qcow2_compressed_extent extent =
			qcow2_compressed_split(entry, geometry->cluster_bits);

		*begin_bytes = extent.offset_bytes;
		*end_bytes = extent.offset_bytes + extent.length_bytes;
		return extent.offset_bytes < geometry->file_size_bytes && !geometry->data_file;
	}
	*begin_bytes = entry & QCOW2_ENTRY_MASK(l2_entry, offset);
	*end_bytes = *begin_bytes + geometry->cluster_size_bytes;
	return qcow2_l2_has_offset(entry, geometry->data_file) &&
	       (geometry->data_file || *begin_bytes < geometry->file_size_bytes);
}

int q2_lost_read_cluster(struct q2_lost_state *state, uint64_t cluster)
{
	uint64_t size = state->geometry->cluster_size_bytes;
	uint64_t offset = cluster << state->geometry->cluster_bits;
	uint64_t left = state->geometry->file_size_bytes - offset;

	if (left < size) {
		memset(state->buffer + left, 0, (size_t)(size - left));
		size = left;
	}
	return qcow2_source_read(state->source, offset, state->buffer, (size_t)size, state->err);
}

int q2_lost_read_l1(struct q2_lost_state *state)
{
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t count = state->header->l1_size, there;

	if (count > geometry->l1_entries_needed)
		count = geometry->l1_entries_needed;
	there = qcow2_table_begin(state->words, state->header->l1_table_offset, count);
	if (there > SLOTS_MOST)
		there = SLOTS_MOST;
	state->slot_room = (size_t)there;
	state->slots = q2_memory_get(&state->memory, there, sizeof(*state->slots));
	if (!state->slots)
		return q2_memory_fail(&state->memory, state->err);
	state->slot_count = (uint32_t)there;
	for (uint32_t i = 0; i < state->slot_count; i++) {
		struct q2_lost_slot *slot = &state->slots[i];
		uint64_t entry, offset;

		if (qcow2_table_entry(state->words, i, &entry, state->err))
			return -1;
		offset = entry & QCOW2_ENTRY_MASK(l1_entry, offset);
		slot->table = Q2_LOST_NONE;
		if (offset % geometry->cluster_size_bytes != 0 ||
		    offset >= geometry->file_size_bytes || offset == 0)
			state->holes++;
		else
			*slot = (struct q2_lost_slot){offset, Q2_LOST_NONE, Q2_SLOT_EMPTIED};
	}
	return 0;
}

uint32_t q2_lost_table_at(const struct q2_lost_state *state, uint64_t cluster)
{
	size_t low = q2_rising_lower(
		Q2_RISING(state->tables, state->table_count, struct q2_lost_table, cluster),
		cluster);
	return low < state->table_count && state->tables[low].cluster == cluster ? (uint32_t)low
										 : Q2_LOST_NONE;
}

/* What an orphan is judged by, besides what is kept of it. */
struct reading {
	struct q2_lost_table table;
	uint32_t flagged; /* entries with the copied or zero flag, or compressed */
	uint32_t stride, sampled;
	uint64_t sample[TRIALS]; /* clusters that it leads to */
};

static void sample(struct reading *reading, uint64_t cluster)
{
	if (reading->table.data % reading->stride != 0)
		return;
	if (reading->sampled == TRIALS) {
		for (unsigned i = 0; i < TRIALS / 2; i++)
			reading->sample[i] = reading->sample[2 * i];
		reading->sampled = TRIALS / 2;
		reading->stride *= 2;
		if (reading->table.data % reading->stride != 0)
			return;
	}
	reading->sample[reading->sampled++] = cluster;
}

static void take_entry(const struct q2_lost_state *state, struct reading *reading, uint64_t entry,
		       bool is_jump)
{
	struct q2_lost_table *table = &reading->table;
	uint64_t begin, end;

	if (!q2_lost_target(state->geometry, entry, &begin, &end))
		return;
	if (table->data == 0)
		table->first_bytes = begin;
	sample(reading, begin >> state->geometry->cluster_bits);
	table->jumps += table->data > 0 && is_jump;
	table->falls += table->data > 0 && is_jump && begin < table->last_bytes;
	table->last_bytes = begin;
	table->last_end_bytes = end;
	table->data++;
	table->compressed += qcow2_l2_is_compressed(entry);
	reading->flagged +=
		qcow2_l2_is_compressed(entry) || (entry & (QCOW2_ENTRY_MASK(l2_entry, copied) |
							   QCOW2_ENTRY_MASK(l2_entry, zero))) != 0;
}

static int read_table(struct q2_lost_state *state, uint64_t cluster, struct reading *reading)
{
	const struct qcow2_geometry *geometry = state->geometry;
	unsigned width = geometry->l2_entry_bytes;

	*reading = (struct reading){.stride = 1};
	reading->table = (struct q2_lost_table){.cluster = cluster,
						.slot = Q2_LOST_NONE,
						.before = Q2_LOST_NONE,
						.next = Q2_LOST_NONE};
	if (q2_lost_read_cluster(state, cluster))
		return -1;
	for (uint32_t i = 0; i < geometry->l2_entries; i++) {
		uint64_t entry = q2_l2_entry_at(state->buffer, i, width);

		if (entry == 0 && q2_l2_subclusters_at(state->buffer, i, width) == 0)
			continue;
		if (reading->table.entries++ == 0)
			reading->table.first_index = i;
		take_entry(state, reading, entry, reading->table.last_index + 1 != i);
		reading->table.last_index = i;
	}
	return 0;
}

/* Whether most of the clusters that a table leads to read as L2 tables: then it is an L1 table. */
static bool leads_to_tables(const struct q2_lost_state *state, const struct reading *reading)
{
	unsigned bits = state->geometry->cluster_bits, tables = 0;

	for (unsigned i = 0; i < reading->sampled; i++) {
		const struct q2_found_table *found =
			q2_found_table(state->how->tables, reading->sample[i] << bits);

		tables += found && found->is_l2;
	}
	return reading->sampled > 0 && tables * 2 > reading->sampled;
}

/* Whether something else leads to a cluster as to data. */
static bool is_data_of_snapshot(const struct q2_lost_state *state, uint64_t cluster)
{
	const struct q2_cluster_state uses = q2_clusters_get(&state->clusters, cluster);

	return uses.count > 0 && uses.use != QCOW2_USE_METADATA &&
	       uses.use != QCOW2_USE_L2_COPIED && uses.use != QCOW2_USE_L2_SHARED;
}

/* Whether what reads as an L2 table is one that lost its place. */
static int judge(struct q2_lost_state *state, const struct reading *reading, bool *orphan)
{
	uint64_t refcount;
	unsigned lacking = 0, shared = 0;

	*orphan = false;
	if (q2_lost_refcount(state, reading->table.cluster, &refcount))
		return -1;
	if (state->refcounts && refcount == 0)
		return 0;
	if (state->geometry->data_file || reading->table.data == 0) {
		*orphan = state->refcounts && (reading->flagged > 0 || !state->has_bitmaps);
		return 0;
	}
	for (unsigned i = 0; i < reading->sampled; i++) {
		bool lacks;

		if (q2_lost_lacks(state, reading->sample[i], &lacks))
			return -1;
		lacking += lacks;
		shared += lacks && is_data_of_snapshot(state, reading->sample[i]);
	}
	*orphan = lacking * 2 >= reading->sampled;
	/*
	 * Tables of bitmaps and refcounts read much as L2 tables do, but know no flags, and what they
	 * lead to is not the data of a snapshot.
	 */
	if (reading->flagged == 0 && (state->has_bitmaps || !state->refcounts))
		*orphan = state->refcounts && shared * 2 >= reading->sampled;
	return 0;
}

/* Notes what the table in state->buffer leads to. */
static void note_mapped(const struct q2_lost_state *state, struct q2_bits *mapped)
{
	const struct qcow2_geometry *geometry = state->geometry;
	uint64_t begin, end;

	for (uint64_t i = 0; i < geometry->l2_entries && !geometry->data_file; i++)
		if (q2_lost_target(geometry,
				   q2_l2_entry_at(state->buffer, i, geometry->l2_entry_bytes),
				   &begin, &end))
			q2_bits_add(mapped, begin >> geometry->cluster_bits);
}

static int keep_table(struct q2_lost_state *state, const struct q2_lost_table *table)
{
	if (state->table_count == TABLES_MOST)
		return 0;
	if (state->table_count == state->table_capacity &&
	    !q2_memory_grow(&state->memory, (void **)&state->tables, &state->table_capacity,
			    sizeof(*state->tables)))
		return q2_memory_fail(&state->memory, state->err);
	state->tables[state->table_count++] = *table;
	return 0;
}

static int keep_old_l1(struct q2_lost_state *state, uint64_t cluster)
{
	if (state->old_l1_count == OLD_L1S_MOST)
		return 0;
	if (state->old_l1_count == state->old_l1_capacity &&
	    !q2_memory_grow(&state->memory, (void **)&state->old_l1s, &state->old_l1_capacity,
			    sizeof(*state->old_l1s)))
		return q2_memory_fail(&state->memory, state->err);
	state->old_l1s[state->old_l1_count++] = cluster << state->geometry->cluster_bits;
	return 0;
}

/*
 * Whether the image uses a cluster for something else than an L2 table of which a reference is
 * missing. *shared: for such a table.
 */
static bool is_other(struct q2_lost_state *state, uint64_t cluster, bool *shared)
{
	const struct q2_cluster_state uses = q2_clusters_get(&state->clusters, cluster);

	if (uses.count == 0)
		return false;
	*shared = uses.use == QCOW2_USE_METADATA;
	return !*shared;
}

/* Keeps a cluster that reads as a table, if it is one that is looked for. */
static int take_table(struct q2_lost_state *state, const struct q2_found_table *found,
		      struct q2_bits *mapped, bool live)
{
	uint64_t cluster = found->offset_bytes >> state->geometry->cluster_bits;
	struct reading reading;
	bool orphan, shared = false;

	if (!live && (q2_bits_has(mapped, cluster) || is_other(state, cluster, &shared)))
		return 0;
	if (read_table(state, cluster, &reading))
		return -1;
	reading.table.shared = reading.table.orphan = shared;
	if (live || shared)
		return keep_table(state, &reading.table);
	if (found->is_pointers && leads_to_tables(state, &reading))
		return keep_old_l1(state, cluster);
	if (judge(state, &reading, &orphan))
		return -1;
	if (!orphan)
		return 0;
	reading.table.orphan = true;
	note_mapped(state, mapped);
	state->lost->orphans++;
	return keep_table(state, &reading.table);
}

static int compare_offsets(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The tables that the active L1 table leads to, sorted; the caller puts them back. */
static uint64_t *live_offsets(struct q2_lost_state *state, size_t *count)
{
	uint64_t *live = q2_memory_get(&state->memory, state->slot_room, sizeof(*live));

	*count = 0;
	for (uint32_t i = 0; live && i < state->slot_count; i++)
		if (state->slots[i].table_bytes)
			live[(*count)++] = state->slots[i].table_bytes;
	if (live)
		qsort(live, *count, sizeof(*live), compare_offsets);
	return live;
}

/* Connects tables with the places that lead to them. */
static void connect(struct q2_lost_state *state)
{
	for (uint32_t i = 0; i < state->slot_count; i++) {
		struct q2_lost_slot *slot = &state->slots[i];
		uint32_t table;

		if (slot->table_bytes == 0)
			continue;
		table = q2_lost_table_at(state, slot->table_bytes >> state->geometry->cluster_bits);
		if (table == Q2_LOST_NONE)
			continue;
		slot->table = table;
		slot->kind = Q2_SLOT_LIVE;
		state->tables[table].slot = i;
		state->tables[table].confidence = 100;
	}
}

int q2_lost_read_tables(struct q2_lost_state *state)
{
	const struct q2_vector *found = state->how->tables;
	struct q2_bits mapped = {.memory = &state->memory};
	size_t live_count;
	uint64_t *live = live_offsets(state, &live_count);
	int failed = live ? 0 : q2_memory_fail(&state->memory, state->err);

	for (size_t i = 0; i < found->count && !failed; i++) {
		const struct q2_found_table *table = q2_vector_at(found, i);

		if (table->is_l2)
			failed = take_table(state, table, &mapped,
					    bsearch(&table->offset_bytes, live, live_count,
						    sizeof(*live), compare_offsets) != NULL);
	}
	if (!failed && mapped.failed)
		failed = q2_memory_fail(&state->memory, state->err);
	if (!failed)
		connect(state);
	q2_memory_put(&state->memory, live, state->slot_room, sizeof(*live));
	q2_bits_release(&mapped);
	return failed;
}
