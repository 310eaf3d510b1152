/* SPDX-License-Identifier: MIT */
/*
 * The loop that a check spends its time in. Entries that are plain (an aligned offset inside the
 * file, no flag but the copied one) take a short way, runs of them a still shorter one. All others
 * are judged by the rules of one entry.
 */
#include "check/l2_table.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "format/l2_table.h"
#include "rules/rules.h"

/* Entries ahead of the one at hand whose clusters are fetched, where they are scattered. */
#define AHEAD 32

#define OFFSET QCOW2_ENTRY_MASK(l2_entry, offset)
#define COPIED QCOW2_ENTRY_MASK(l2_entry, copied)
/* Any of these bits makes an entry anything but plain, whatever its offset is. */
#define NOT_PLAIN                                                                                  \
	(QCOW2_ENTRY_MASK(l2_entry, zero) | QCOW2_ENTRY_MASK(l2_entry, compressed) |               \
	 QCOW2_ENTRY_MASK(l2_entry, reserved_1) | QCOW2_ENTRY_MASK(l2_entry, reserved_56))

_Static_assert((OFFSET | COPIED) == ~NOT_PLAIN, "the short way knows every bit of an L2 entry");

/* A table that is gone through, and how far. */
struct going {
	struct q2_worker *worker;
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	const struct q2_l2_ref *ref;
	const uint8_t *bytes;
	uint64_t entries;
	uint64_t not_plain; /* bits that make an entry anything but plain */
	uint64_t follows;   /* offset that would not be a fragment, or 0 */
	bool faulty;
	bool used; /* an entry is not 0 */
};

/* Listens to the rules, only to learn whether one is broken. */
static bool note_fault(void *opaque, enum qcow2_problem_id id)
{
	(void)id;
	*(bool *)opaque = true;
	return false;
}

static uint64_t load_entry(const struct going *g, uint64_t index)
{
	return q2_l2_entry_at(g->bytes, index, g->geometry->l2_entry_bytes);
}

static uint64_t load_subclusters(const struct going *g, uint64_t index)
{
	return q2_l2_subclusters_at(g->bytes, index, g->geometry->l2_entry_bytes);
}

/* Clusters that the active image has allocated, for the statistics that qemu-img prints. */
static void count_allocated(struct going *g, uint64_t offset, uint64_t clusters)
{
	if (g->ref->active == 0)
		return;
	g->worker->allocated += clusters * g->ref->active;
	if (g->follows != 0 && g->follows != offset)
		g->worker->fragmented += g->ref->active;
	g->follows = offset + (clusters << g->geometry->cluster_bits);
}

/*
 * Counts an entry that is not plain. The statistics are those of qemu-img: it takes each compressed
 * cluster for a fragment, and in an image with a data file it counts what is allocated there.
 */
static void visit_odd(struct going *g, uint64_t index, uint64_t entry, uint64_t subclusters)
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
			count_allocated(g, entry & OFFSET, 1);
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
__attribute__((always_inline)) static inline void prefetch(const struct going *g, uint64_t index,
							   enum qcow2_claim_use use)
{
	uint64_t entry, cluster;

	if (index + AHEAD >= g->entries)
		return;
	entry = load_entry(g, index + AHEAD);
	cluster = (entry & OFFSET) >> g->geometry->cluster_bits;
	if (cluster < g->worker->clusters.cluster_count)
		q2_clusters_prefetch(&g->worker->clusters, cluster, use);
}

/*
 * Whether an extended entry says of a subcluster that it is allocated and reads as zeros. Only for
 * entries of 16 bytes, which spares the loop over a run a question.
 */
static bool contradicts_itself(const struct going *g, uint64_t index)
{
	struct qcow2_l2_subclusters subclusters =
		qcow2_l2_subclusters_decode(q2_l2_subclusters_at(g->bytes, index, 16));

	return (subclusters.allocated & subclusters.zeroes) != 0;
}

/* Whether counting one reference is all that an entry needs: it breaks no rule by itself. */
static bool is_plain(const struct going *g, uint64_t index, uint64_t entry)
{
	uint64_t offset = entry & OFFSET;

	if ((entry & g->not_plain) || offset == 0 || offset >= g->geometry->file_size_bytes)
		return false;
	return !g->geometry->extended_l2 || !contradicts_itself(g, index);
}

/*
 * How many plain entries from index on lead to clusters in a row, as an image that was written in
 * order has them. Each entry has to be the one before plus a cluster: that compares offset and
 * copied flag at once, and an entry with another bit set cannot be equal. most keeps the run inside
 * the file, so that no offset needs a look of its own.
 */
static uint64_t run_length(const struct going *g, uint64_t index, uint64_t entry)
{
	uint64_t cluster = g->geometry->cluster_size_bytes;
	uint64_t offset = entry & OFFSET;
	uint64_t most =
		((g->geometry->file_size_bytes - 1 - offset) >> g->geometry->cluster_bits) + 1;
	uint64_t last = g->entries - index < most ? g->entries : index + most;
	uint64_t at = index + 1;

	if (g->geometry->extended_l2) {
		for (; at < last; at++)
			if (q2_l2_entry_at(g->bytes, at, 16) != (entry += cluster) ||
			    contradicts_itself(g, at))
				break;
	} else {
		for (; at < last; at++)
			if (q2_load_be64(g->bytes + at * 8) != (entry += cluster))
				break;
	}
	return at - index;
}

/*
 * Counts plain entries from index on that lead here and there, of the active image and of one L1
 * entry: the loop that an image in disorder spends its time in. All have the copied flag or none,
 * so that one bit set takes them. Returns the index of the first entry that it leaves to others:
 * one that is not plain, that starts a run, or the last one.
 */
static uint64_t visit_scattered(struct going *g, uint64_t index, enum qcow2_claim_use use)
{
	const struct q2_clusters *clusters = &g->worker->clusters;
	const uint64_t not_plain = g->not_plain, cluster = g->geometry->cluster_size_bytes;
	const uint64_t last = g->geometry->file_size_bytes - 1;
	const uint64_t copied = use == QCOW2_USE_DATA_COPIED ? COPIED : 0;
	const unsigned bits = g->geometry->cluster_bits;
	uint64_t at = index, follows = g->follows, fragments = 0;
	uint64_t entry = load_entry(g, at), next;

	for (; at + 1 < g->entries; at++, entry = next) {
		uint64_t offset = entry & OFFSET;

		next = load_entry(g, at + 1);
		/* offset - 1 is huge for no offset at all */
		if ((entry & not_plain) || offset - 1 >= last || (entry & COPIED) != copied ||
		    next == entry + cluster)
			break;
		prefetch(g, at, use);
		if (!q2_clusters_note_fresh(clusters, offset >> bits, use))
			q2_clusters_note(&g->worker->clusters, offset >> bits, use);
		fragments += follows != 0 && follows != offset;
		follows = offset + cluster;
	}
	g->follows = follows;
	g->worker->fragmented += fragments;
	g->worker->allocated += at - index;
	return at;
}

/* Counts a run of plain entries from index on. */
static void mark(const struct going *g, uint64_t index, uint64_t entry, uint64_t run)
{
	uint64_t first = (entry & OFFSET) >> g->geometry->cluster_bits;
	enum qcow2_claim_use use = q2_l2_use(g->ref, entry);

	if (run == 1 && g->ref->weight == 1) {
		prefetch(g, index, use);
		if (!q2_clusters_note_fresh(&g->worker->clusters, first, use))
			q2_clusters_note(&g->worker->clusters, first, use);
		return;
	}
	q2_clusters_mark(&g->worker->clusters, first, run, use, g->ref->weight);
}

/* Counts all entries; those in a row at once, since a run is marked 64 clusters at a step. */
static void visit_entries(struct going *g)
{
	for (uint64_t i = 0; i < g->entries;) {
		uint64_t entry = load_entry(g, i), offset = entry & OFFSET, run;

		if (entry == 0 && load_subclusters(g, i) == 0) {
			i++;
			continue;
		}
		if (g->geometry->data_file || !is_plain(g, i, entry)) {
			g->used = true;
			visit_odd(g, i, entry, load_subclusters(g, i));
			i++;
			continue;
		}
		g->used = true;
		run = run_length(g, i, entry);
		if (run == 1 && g->ref->weight == 1 && g->ref->active == 1 &&
		    !g->geometry->extended_l2) {
			uint64_t past = visit_scattered(g, i, q2_l2_use(g->ref, entry));

			if (past > i) {
				i = past;
				continue;
			}
		}
		count_allocated(g, offset, run);
		mark(g, i, entry, run);
		i += run;
	}
}

void q2_l2_table_count(const struct q2_l2_table *table, struct q2_worker *worker)
{
	const struct qcow2_geometry *geometry = worker->geometry;
	struct going g = {
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
