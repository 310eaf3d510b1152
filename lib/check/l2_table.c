/* SPDX-License-Identifier: MIT */
/*
 * The loop that a check spends its time in. Entries that are plain (an aligned offset inside the
 * file, no flag but the copied one) take a short way, runs of them a still shorter one. All others
 * are judged by the rules of one entry.
 */
#include "check/l2_table.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "check/l2_going.h"
#include "rules/rules.h"

/* Entries ahead of the one at hand whose clusters are fetched, where they are scattered. */
#define AHEAD 32

/* Any of these bits makes an entry anything but plain, whatever its offset is. */
#define NOT_PLAIN                                                                                  \
	(QCOW2_ENTRY_MASK(l2_entry, zero) | QCOW2_ENTRY_MASK(l2_entry, compressed) |               \
	 QCOW2_ENTRY_MASK(l2_entry, reserved_1) | QCOW2_ENTRY_MASK(l2_entry, reserved_56))

_Static_assert((Q2_L2_OFFSET | Q2_L2_COPIED) == ~NOT_PLAIN,
	       "the short way knows every bit of an L2 entry");

/* Listens to the rules, only to learn whether one is broken. */
static bool note_fault(void *opaque, enum qcow2_problem_id id)
{
	(void)id;
	*(bool *)opaque = true;
	return false;
}

/*
 * Counts an entry that is not plain. The statistics are those of qemu-img: it takes each compressed
 * cluster for a fragment, and in an image with a data file it counts what is allocated there.
 */
static void visit_odd(struct q2_l2_going *g, uint64_t index, uint64_t entry, uint64_t subclusters)
{
	const struct q2_reporter silent = {.opaque = &g->faulty, .wanted = note_fault};
	const struct q2_entry_place place = {
		.owner = "",
		.index = index,
		.guest_byte = q2_guest_byte(g->geometry, g->ref->index, index),
	};
	struct qcow2_claim claim;

	q2_rules_l2_entry(g->image, &place, entry, subclusters, &silent);
	if (!qcow2_l2_is_compressed(entry)) {
		if (qcow2_l2_has_offset(entry, g->geometry->data_file))
			q2_l2_going_allocated(g, entry & Q2_L2_OFFSET, 1);
	} else if (!g->geometry->data_file) { /* which has no compressed clusters */
		g->worker->allocated += g->ref->active;
		g->worker->fragmented += g->ref->active;
		g->worker->compressed += g->ref->active;
	}
	if (q2_l2_claim(g->geometry, g->ref, entry, &claim))
		q2_worker_count(g->worker, &claim);
}

/*
 * Lets the processor fetch the word that will be touched for an entry further on. Without that,
 * scattered clusters make it wait for memory at every entry. The entry ahead may be of any kind:
 * then a word is fetched in vain.
 */
__attribute__((always_inline)) static inline void prefetch(const struct q2_l2_going *g,
							   uint64_t index, enum qcow2_claim_use use)
{
	uint64_t entry, cluster;

	if (index + AHEAD >= g->entries)
		return;
	entry = q2_l2_going_entry(g, index + AHEAD);
	cluster = (entry & Q2_L2_OFFSET) >> g->geometry->cluster_bits;
	if (cluster < g->worker->clusters.cluster_count)
		q2_clusters_prefetch(&g->worker->clusters, cluster, use);
}

/* Whether counting one reference is all that an entry needs: it breaks no rule by itself. */
static bool is_plain(const struct q2_l2_going *g, uint64_t index, uint64_t entry)
{
	uint64_t offset = entry & Q2_L2_OFFSET;

	if ((entry & g->not_plain) || offset == 0 || offset >= g->geometry->file_size_bytes)
		return false;
	return !g->geometry->extended_l2 || !q2_l2_going_contradicts(g, index);
}

/*
 * How many plain entries from index on lead to clusters in a row, as an image that was written in
 * order has them. Each entry has to be the one before plus a cluster: that compares offset and
 * copied flag at once, and an entry with another bit set cannot be equal. most keeps the run inside
 * the file, so that no offset needs a look of its own.
 */
static uint64_t run_length(const struct q2_l2_going *g, uint64_t index, uint64_t entry)
{
	uint64_t cluster = g->geometry->cluster_size_bytes;
	uint64_t offset = entry & Q2_L2_OFFSET;
	uint64_t most =
		((g->geometry->file_size_bytes - 1 - offset) >> g->geometry->cluster_bits) + 1;
	uint64_t last = g->entries - index < most ? g->entries : index + most;
	uint64_t at = index + 1;

	if (g->geometry->extended_l2) {
		for (; at < last; at++)
			if (q2_l2_entry_at(g->bytes, at, 16) != (entry += cluster) ||
			    q2_l2_going_contradicts(g, at))
				break;
	} else {
		for (; at < last; at++)
			if (q2_load_be64(g->bytes + at * 8) != (entry += cluster))
				break;
	}
	return at - index;
}

/* Counts a run of plain entries from index on. */
static void mark(const struct q2_l2_going *g, uint64_t index, uint64_t entry, uint64_t run)
{
	uint64_t first = (entry & Q2_L2_OFFSET) >> g->geometry->cluster_bits;
	enum qcow2_claim_use use = q2_l2_use(g->ref, entry);

	if (run == 1 && g->ref->weight == 1 && !g->worker->tallying) {
		prefetch(g, index, use);
		if (!q2_clusters_note_fresh(&g->worker->clusters, first, use))
			q2_clusters_note(&g->worker->clusters, first, use);
		return;
	}
	if (q2_l2_going_tallies(g))
		q2_tally_run(&g->worker->clusters, first, run, use, g->ref->weight);
	else
		q2_clusters_mark(&g->worker->clusters, first, run, use, g->ref->weight);
}

/* Counts plain entries from index on, of which there is one at least; returns where they end. */
static uint64_t visit_plain(struct q2_l2_going *g, uint64_t index, uint64_t entry)
{
	uint64_t run, past = q2_l2_going_tallies(g) ? q2_l2_visit_shared(g, index) : index;

	if (past > index)
		return past;
	run = run_length(g, index, entry);
	if (run == 1 && g->ref->weight == 1 && g->ref->active == 1 && !g->geometry->extended_l2)
		past = q2_l2_visit_scattered(g, index, q2_l2_use(g->ref, entry));
	if (past > index)
		return past;
	q2_l2_going_allocated(g, entry & Q2_L2_OFFSET, run);
	mark(g, index, entry, run);
	return index + run;
}

/* Counts entries that are not plain, at least the one at index; returns where they end. */
static uint64_t visit_others(struct q2_l2_going *g, uint64_t index, uint64_t entry)
{
	uint64_t past = qcow2_l2_is_compressed(entry) ? q2_l2_visit_compressed(g, index) : index;

	if (past == index)
		visit_odd(g, past++, entry, q2_l2_going_subclusters(g, index));
	return past;
}

/* Counts all entries; those in a row at once, since a run is marked 64 clusters at a step. */
static void visit_entries(struct q2_l2_going *g)
{
	for (uint64_t i = 0; i < g->entries;) {
		uint64_t entry = q2_l2_going_entry(g, i);

		if (entry == 0 && q2_l2_going_subclusters(g, i) == 0) {
			i++;
			continue;
		}
		g->used = true;
		i = g->geometry->data_file || !is_plain(g, i, entry) ? visit_others(g, i, entry)
								     : visit_plain(g, i, entry);
	}
}

void q2_l2_table_count(const struct q2_l2_table *table, struct q2_worker *worker)
{
	const struct qcow2_geometry *geometry = worker->geometry;
	struct q2_l2_going g = {
		.worker = worker,
		.image = table->image,
		.geometry = geometry,
		.ref = table->ref,
		.bytes = table->bytes,
		.entries = q2_div_ceil_u64(table->size, geometry->l2_entry_bytes),
		.not_plain = NOT_PLAIN | (geometry->cluster_size_bytes - 1),
	};

	visit_entries(&g);
	table->ref->faulty = g.faulty;
	table->ref->used = g.used;
}
