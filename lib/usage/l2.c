/* SPDX-License-Identifier: MIT */
/*
 * Marks L2 tables, and the clusters that their entries lead to. An entry that leads to an aligned
 * place in the file takes a short way, a run of such entries a shorter one.
 */
#include "usage/l2_table.h"

/* Entries ahead of the one at hand whose labels are fetched, where clusters are scattered. */
#define AHEAD 32

/* The table that is gone through. */
struct table {
	struct q2_l2_bytes l2;
	struct q2_marker *marker;
	const struct q2_l2_ref *ref;
	uint64_t order;            /* of the claim of its first entry */
	uint32_t data, compressed; /* states */
};

/* The entry ahead may be of any kind: then something is fetched in vain. */
__attribute__((always_inline)) static inline void prefetch(const struct table *table,
							   uint64_t index)
{
	const struct q2_labels *labels = &table->marker->labels;
	uint64_t cluster;

	if (index + AHEAD >= table->l2.entries)
		return;
	cluster = q2_l2_cluster(&table->l2, q2_l2_load(&table->l2, index + AHEAD));
	if (cluster < labels->cluster_count)
		q2_labels_prefetch(labels, cluster, table->data);
}

/* Marks what an entry that takes the long way refers to. */
static bool mark_odd(const struct table *table, uint64_t index, uint64_t entry)
{
	struct qcow2_claim claim;

	if (!q2_l2_claim(table->l2.geometry, table->ref, entry, &claim))
		return true;
	table->marker->order = table->order + index;
	return q2_marker_claim(table->marker, &claim,
			       claim.use == QCOW2_USE_COMPRESSED ? table->compressed : table->data);
}

static bool mark_entries(const struct table *table)
{
	struct q2_labels *labels = &table->marker->labels;
	uint64_t run;

	for (uint64_t i = 0; i < table->l2.entries; i += run ? run : 1) {
		const uint64_t entry = q2_l2_load(&table->l2, i);
		const uint64_t cluster = q2_l2_cluster(&table->l2, entry);

		run = entry ? q2_l2_run(&table->l2, i, entry) : 1;
		if (run == 0 && !mark_odd(table, i, entry))
			return false;
		if (run == 0 || entry == 0)
			continue;
		if (run == 1)
			prefetch(table, i);
		if (run > 1 || !q2_labels_mark_fresh(labels, cluster, table->data))
			q2_labels_mark(labels, cluster, run, table->data);
	}
	return true;
}

static bool visit_table(void *opaque, struct q2_marker *marker, size_t number, const uint8_t *bytes)
{
	const struct qcow2_usage *usage = opaque;
	const uint32_t set = usage->table_sets[number];
	const struct table table = {
		.l2 = q2_l2_bytes_of(usage, number, bytes),
		.marker = marker,
		.ref = &usage->metadata.tables[number],
		.order = (uint64_t)(number + 1) << 32,
		.data = q2_joiner_state(&marker->joiner, Q2_WHAT_CLAIM + QCOW2_CLAIM_DATA, set),
		.compressed = q2_joiner_state(&marker->joiner, Q2_WHAT_COMPRESSED, set),
	};

	return mark_entries(&table);
}

/* The tables themselves: one that leads to the state of a machine is no part of it. */
static int mark_tables(struct qcow2_usage *usage)
{
	struct q2_marker *marker = &usage->markers[0];

	for (size_t i = 0; i < usage->metadata.table_count; i++) {
		const struct qcow2_claim claim = {
			.offset_bytes = usage->metadata.tables[i].offset_bytes,
			.length_bytes = usage->geometry->cluster_size_bytes};
		const uint32_t set =
			q2_sets_below(&usage->states.sets, usage->table_sets[i], Q2_USER_MACHINE);
		const uint32_t state =
			q2_joiner_state(&marker->joiner, Q2_WHAT_CLAIM + QCOW2_CLAIM_L2_TABLE, set);

		marker->order++;
		if (!q2_marker_claim(marker, &claim, state))
			return q2_usage_tell_failure(usage);
	}
	return 0;
}

int q2_usage_mark_l2(struct qcow2_usage *usage)
{
	const struct q2_l2_visitor visitor = {
		.visit = visit_table, .opaque = usage, .threads = usage->threads};

	return mark_tables(usage) ? -1 : q2_usage_read_l2(usage, &visitor);
}
