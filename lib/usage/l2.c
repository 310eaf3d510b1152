/* SPDX-License-Identifier: MIT */
/*
 * L2 tables, and the clusters that their entries lead to. Each distinct table is read once, by any of
 * the threads. An entry that leads to an aligned place in the file takes a short way, a run of such
 * entries a shorter one.
 */
#include <string.h>

#include "base/checked.h"
#include "base/crew.h"
#include "format/l2_table.h"
#include "usage/usage.h"

#define ENTRY_MOST_BYTES 16
/* Entries ahead of the one at hand whose labels are fetched, where clusters are scattered. */
#define AHEAD 32

#define OFFSET QCOW2_ENTRY_MASK(l2_entry, offset)
/* With any of these bits, an entry is not a place alone. */
#define ODD (QCOW2_ENTRY_MASK(l2_entry, compressed) | QCOW2_ENTRY_MASK(l2_entry, reserved_56))

/* Tables that follow each other closely enough are read at once: [first, last) of the list. */
struct batch {
	size_t first, last;
};

struct work {
	struct qcow2_usage *usage;
	struct batch *batches;
	size_t count;
};

/* The table that is gone through. */
struct table {
	struct q2_marker *marker;
	const struct qcow2_geometry *geometry;
	const struct q2_l2_ref *ref;
	const uint8_t *bytes;
	uint64_t entries;
	uint64_t order;            /* of the claim of its first entry */
	uint64_t odd;              /* bits that make an entry take the long way */
	uint32_t data, compressed; /* states */
};

static uint64_t load(const struct table *table, uint64_t index)
{
	return q2_l2_entry_at(table->bytes, index, table->geometry->l2_entry_bytes);
}

/*
 * How many entries from index on lead to clusters of the file in a row, with the same flags: each is
 * the one before plus a cluster, which no entry with another bit is.
 */
static uint64_t run_length(const struct table *table, uint64_t index, uint64_t entry)
{
	const uint64_t cluster = table->geometry->cluster_size_bytes;
	const uint64_t left = table->geometry->file_size_bytes - 1 - (entry & OFFSET);
	uint64_t most = (left >> table->geometry->cluster_bits) + 1, run = 1;

	if (most > table->entries - index)
		most = table->entries - index;
	if (table->geometry->l2_entry_bytes == 8)
		while (run < most &&
		       q2_l2_entry_at(table->bytes, index + run, 8) == (entry += cluster))
			run++;
	else
		while (run < most &&
		       q2_l2_entry_at(table->bytes, index + run, 16) == (entry += cluster))
			run++;
	return run;
}

/* The entry ahead may be of any kind: then something is fetched in vain. */
__attribute__((always_inline)) static inline void prefetch(const struct table *table,
							   uint64_t index)
{
	uint64_t cluster;

	if (index + AHEAD >= table->entries)
		return;
	cluster = (load(table, index + AHEAD) & OFFSET) >> table->geometry->cluster_bits;
	if (cluster < table->marker->labels.cluster_count)
		q2_labels_prefetch(&table->marker->labels, cluster, table->data);
}

/* Marks what an entry that takes the long way refers to. */
static bool mark_odd(const struct table *table, uint64_t index, uint64_t entry)
{
	struct qcow2_claim claim;

	if (!q2_l2_claim(table->geometry, table->ref, entry, &claim))
		return true;
	table->marker->order = table->order + index;
	return q2_marker_claim(table->marker, &claim,
			       claim.use == QCOW2_USE_COMPRESSED ? table->compressed : table->data);
}

static bool mark_entries(const struct table *table)
{
	struct q2_labels *labels = &table->marker->labels;
	const uint64_t last = table->geometry->file_size_bytes - 1;
	uint64_t run;

	for (uint64_t i = 0; i < table->entries; i += run) {
		const uint64_t entry = load(table, i), offset = entry & OFFSET;
		const uint64_t cluster = offset >> table->geometry->cluster_bits;

		run = 1;
		if (entry == 0)
			continue;
		/* offset - 1 is huge for no offset at all */
		if ((entry & table->odd) || offset - 1 >= last) {
			if (!mark_odd(table, i, entry))
				return false;
			continue;
		}
		if (i + 1 < table->entries &&
		    load(table, i + 1) == entry + table->geometry->cluster_size_bytes)
			run = run_length(table, i, entry);
		else
			prefetch(table, i);
		if (run > 1 || !q2_labels_mark_fresh(labels, cluster, table->data))
			q2_labels_mark(labels, cluster, run, table->data);
	}
	return true;
}

static bool visit_table(struct qcow2_usage *usage, struct q2_marker *marker, size_t number,
			const uint8_t *bytes)
{
	const struct q2_l2_ref *ref = &usage->metadata.tables[number];
	const uint32_t set = usage->table_sets[number];
	const struct table table = {
		.marker = marker,
		.geometry = usage->geometry,
		.ref = ref,
		.bytes = bytes,
		.entries =
			q2_div_ceil_u64(q2_metadata_l2_stored(usage->geometry, ref->offset_bytes),
					usage->geometry->l2_entry_bytes),
		.order = (uint64_t)(number + 1) << 32,
		.odd = ODD | ((usage->geometry->cluster_size_bytes - 1) & OFFSET),
		.data = q2_joiner_state(&marker->joiner, Q2_WHAT_CLAIM + QCOW2_CLAIM_DATA, set),
		.compressed = q2_joiner_state(&marker->joiner, Q2_WHAT_COMPRESSED, set),
	};

	return mark_entries(&table);
}

/* All tables of a batch are in the marker's buffer, which starts at the first one. */
static bool visit_batch(struct qcow2_usage *usage, struct q2_marker *marker,
			const struct batch *batch)
{
	const struct q2_l2_ref *tables = usage->metadata.tables;

	for (size_t i = batch->first; i < batch->last; i++)
		if (!visit_table(usage, marker, i,
				 marker->buffer + (tables[i].offset_bytes -
						   tables[batch->first].offset_bytes)))
			return false;
	return true;
}

static bool work_batch(void *opaque, unsigned number, uint64_t piece)
{
	const struct work *work = opaque;
	struct qcow2_usage *usage = work->usage;
	struct q2_marker *marker = &usage->markers[number];
	const struct batch *batch = &work->batches[piece];
	const struct qcow2_source *source = qcow2_image_source(usage->image);
	const struct q2_l2_ref *last = &usage->metadata.tables[batch->last - 1];
	const uint64_t start = usage->metadata.tables[batch->first].offset_bytes;
	const size_t size = (size_t)(last->offset_bytes - start +
				     q2_metadata_l2_stored(usage->geometry, last->offset_bytes));

	/* A hole has no entries. */
	if (qcow2_source_hole_end(source, start) - start < size) {
		marker->failed = qcow2_source_read(qcow2_image_source(usage->image), start,
						   marker->buffer, size, &marker->err) != 0;
		/* An entry cut by the end of the file is padded with zeros. */
		memset(marker->buffer + size, 0, ENTRY_MOST_BYTES);
		if (marker->failed || !visit_batch(usage, marker, batch))
			return false;
	}
	atomic_fetch_add(&usage->done_bytes, size);
	return !q2_marker_is_short(marker) && (number != 0 || q2_usage_progress(usage) == 0);
}

/* Cuts the list of tables into batches of at most a piece each; NULL if memory is short. */
static struct batch *make_batches(struct qcow2_usage *usage, size_t *count)
{
	const struct q2_l2_ref *tables = usage->metadata.tables;
	const uint64_t cluster = usage->geometry->cluster_size_bytes;
	const uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;
	struct batch *batches =
		q2_memory_get(&usage->memory, usage->metadata.table_count, sizeof(*batches));

	*count = 0;
	for (size_t i = 0; batches && i < usage->metadata.table_count; i++) {
		struct batch *batch = *count ? &batches[*count - 1] : NULL;

		usage->total_bytes +=
			q2_metadata_l2_stored(usage->geometry, tables[i].offset_bytes);
		if (batch && tables[i].offset_bytes - tables[i - 1].offset_bytes <= cluster &&
		    tables[i].offset_bytes + cluster - tables[batch->first].offset_bytes <= most)
			batch->last = i + 1;
		else
			batches[(*count)++] = (struct batch){i, i + 1};
	}
	return batches;
}

/* A thread has failed, or progress wants to stop, which has filled the error. */
static int tell_failure(const struct qcow2_usage *usage)
{
	for (unsigned i = 0; i < usage->threads; i++)
		if (usage->markers[i].failed) {
			*usage->metadata.err = usage->markers[i].err;
			break;
		}
	return -1;
}

static int mark_data(struct qcow2_usage *usage)
{
	struct work work = {.usage = usage};
	bool done;

	if (usage->metadata.table_count == 0 || usage->geometry->data_file)
		return 0;
	work.batches = make_batches(usage, &work.count);
	if (!work.batches)
		return q2_memory_fail(&usage->memory, usage->metadata.err);
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = work.count,
		.threads = work.count > 1 ? usage->threads : 1,
		.work = work_batch,
		.opaque = &work,
	});
	q2_memory_put(&usage->memory, work.batches, usage->metadata.table_count,
		      sizeof(*work.batches));
	return done ? 0 : tell_failure(usage);
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
			return tell_failure(usage);
	}
	return 0;
}

int q2_usage_mark_l2(struct qcow2_usage *usage)
{
	return mark_tables(usage) ? -1 : mark_data(usage);
}
