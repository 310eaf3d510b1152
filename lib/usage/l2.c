/* SPDX-License-Identifier: MIT */
/* L2 tables, and the clusters that their entries lead to. */
#include "format/l2_table.h"
#include "usage/usage.h"

#define OFFSET QCOW2_ENTRY_MASK(l2_entry, offset)
#define ODD    (QCOW2_ENTRY_MASK(l2_entry, compressed) | QCOW2_ENTRY_MASK(l2_entry, reserved_56))

/* The table in the buffer. */
struct table {
	struct qcow2_usage *usage;
	const struct q2_l2_ref *ref;
	const uint8_t *bytes;
	uint64_t entries;
	uint32_t data, compressed; /* states */
};

/*
 * How many entries from index on lead to clusters of the file in a row, with the same flags: each is
 * the one before plus a cluster. 0 if the first does not lead to an aligned place in the file.
 */
static uint64_t run_length(const struct table *table, uint64_t index, uint64_t entry)
{
	const struct qcow2_geometry *geometry = table->usage->geometry;
	const uint64_t cluster = geometry->cluster_size_bytes, offset = entry & OFFSET;
	uint64_t most, at = index + 1;

	if ((entry & ODD) || offset == 0 || offset % cluster != 0 ||
	    offset >= geometry->file_size_bytes)
		return 0;
	most = ((geometry->file_size_bytes - 1 - offset) >> geometry->cluster_bits) + 1;
	if (most > table->entries - index)
		most = table->entries - index;
	while (at < index + most &&
	       q2_l2_entry_at(table->bytes, at, geometry->l2_entry_bytes) == (entry += cluster))
		at++;
	return at - index;
}

static int mark_entries(const struct table *table)
{
	struct qcow2_usage *usage = table->usage;
	const struct qcow2_geometry *geometry = usage->geometry;
	struct qcow2_claim claim;
	uint64_t run;

	for (uint64_t i = 0; i < table->entries; i += run ? run : 1) {
		const uint64_t entry = q2_l2_entry_at(table->bytes, i, geometry->l2_entry_bytes);

		run = run_length(table, i, entry);
		if (run > 0)
			q2_labels_mark(&usage->labels, (entry & OFFSET) >> geometry->cluster_bits,
				       run, table->data);
		else if (entry != 0 && q2_l2_claim(geometry, table->ref, entry, &claim) &&
			 q2_usage_mark(usage, &claim,
				       claim.use == QCOW2_USE_COMPRESSED ? table->compressed
									 : table->data))
			return -1;
	}
	return 0;
}

static int mark_data(struct qcow2_usage *usage, size_t number)
{
	const struct q2_l2_ref *ref = &usage->metadata.tables[number];
	const uint32_t set = usage->table_sets[number];
	struct table table = {
		.usage = usage,
		.ref = ref,
		.bytes = usage->metadata.buffer,
		.data = q2_joiner_state(&usage->joiner, Q2_WHAT_CLAIM + QCOW2_CLAIM_DATA, set),
		.compressed = q2_joiner_state(&usage->joiner, Q2_WHAT_COMPRESSED, set),
	};
	uint64_t size;

	if (usage->geometry->data_file || q2_metadata_l2_is_hole(&usage->metadata, ref))
		return 0;
	if (q2_metadata_read_l2(&usage->metadata, ref->offset_bytes, &size))
		return -1;
	table.entries = size / usage->geometry->l2_entry_bytes;
	return mark_entries(&table);
}

/* The tables themselves: one that leads to the state of a machine is no part of it. */
static int mark_tables(struct qcow2_usage *usage)
{
	for (size_t i = 0; i < usage->metadata.table_count; i++) {
		const struct qcow2_claim claim = {
			.offset_bytes = usage->metadata.tables[i].offset_bytes,
			.length_bytes = usage->geometry->cluster_size_bytes};
		const uint32_t set =
			q2_sets_below(&usage->states.sets, usage->table_sets[i], Q2_USER_MACHINE);
		const uint32_t state =
			q2_joiner_state(&usage->joiner, Q2_WHAT_CLAIM + QCOW2_CLAIM_L2_TABLE, set);

		if (q2_usage_mark(usage, &claim, state))
			return -1;
	}
	return 0;
}

int q2_usage_mark_l2(struct qcow2_usage *usage)
{
	const uint64_t cluster = usage->geometry->cluster_size_bytes;

	usage->total_bytes += usage->metadata.table_count * cluster;
	if (mark_tables(usage))
		return -1;
	for (size_t i = 0; i < usage->metadata.table_count; i++) {
		if (mark_data(usage, i))
			return -1;
		if (usage->labels.failed || usage->joiner.failed)
			return q2_memory_fail(&usage->memory, usage->metadata.err);
		usage->done_bytes += cluster;
		if (q2_usage_progress(usage))
			return -1;
	}
	return 0;
}
