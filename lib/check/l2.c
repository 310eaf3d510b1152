/* SPDX-License-Identifier: MIT */
/*
 * L2 tables: each distinct one is read once, by any of the threads, and every host cluster that it
 * refers to is counted as often as L1 entries lead to the table.
 *
 * Entries that are plain (an aligned offset inside the file, no flag but the copied one) take a
 * short way, runs of them a still shorter one. All others are judged by the rules of one entry; a
 * table with an entry that breaks one is only noted here and reported afterwards, in order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "check/l2.h"

#define L2_RESERVED UINT64_C(0x3f000000000001fe)
/* Entries ahead of the one at hand whose clusters are fetched, where they are scattered. */
#define AHEAD            32
#define ENTRY_MOST_BYTES 16

/* A table that is gone through, and how far. */
struct going {
	struct q2_check_worker *worker;
	const struct qcow2_geometry *geometry;
	const struct q2_l2_ref *ref;
	const uint8_t *bytes;
	uint64_t entries;
	uint64_t not_plain; /* bits that make an entry anything but plain */
	uint64_t follows;   /* offset that would not be a fragment, or 0 */
	bool faulty;
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
	return q2_load_be64(g->bytes + index * g->geometry->l2_entry_bytes);
}

static uint64_t load_subclusters(const struct going *g, uint64_t index)
{
	return g->geometry->extended_l2 ? q2_load_be64(g->bytes + index * 16 + 8) : 0;
}

enum q2_use q2_l2_use(const struct q2_l2_ref *ref, uint64_t entry)
{
	if (ref->active == 0)
		return Q2_USE_DATA;
	return entry & Q2_COPIED ? Q2_USE_DATA_COPIED : Q2_USE_DATA_SHARED;
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

bool q2_l2_claim(const struct qcow2_image *image, const struct q2_l2_ref *ref, uint64_t entry,
		 struct q2_claim *claim)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t low = (UINT64_C(1) << geometry->compressed_offset_bits) - 1;

	*claim = (struct q2_claim){.weight = ref->weight, .part = Q2_PART_DATA};
	if (geometry->data_file)
		return false;
	if (entry & Q2_COMPRESSED) {
		claim->offset_bytes = entry & low;
		claim->length_bytes =
			(((entry & ~(UINT64_C(3) << 62)) >> geometry->compressed_offset_bits) + 1) *
				512 -
			(claim->offset_bytes & 511);
		claim->use = Q2_USE_COMPRESSED;
	} else {
		claim->offset_bytes = entry & Q2_OFFSET_MASK;
		claim->length_bytes = geometry->cluster_size_bytes;
		claim->use = q2_l2_use(ref, entry);
		if (claim->offset_bytes == 0)
			return false;
	}
	return true;
}

/* An entry that is not plain. */
static void visit_odd(struct going *g, uint64_t index, uint64_t entry, uint64_t subclusters)
{
	const struct q2_reporter silent = {.opaque = &g->faulty, .wanted = note_fault};
	const struct qcow2_image *image = g->worker->check->image;
	const struct q2_entry_place place = {
		.owner = "",
		.index = index,
		.guest_byte = (g->ref->index * g->geometry->l2_entries + index)
			      << g->geometry->cluster_bits,
	};
	struct q2_claim claim;

	q2_rules_l2_entry(image, &place, entry, subclusters, &silent);
	if ((entry & Q2_COMPRESSED) && !g->geometry->data_file) {
		g->worker->allocated += g->ref->active;
		g->worker->fragmented += g->ref->active;
		g->worker->compressed += g->ref->active;
	} else if (entry & Q2_COMPRESSED) {
		/* impossible with a data file, and no cluster of it */
	} else if ((entry & Q2_OFFSET_MASK) || (g->geometry->data_file && (entry & Q2_COPIED))) {
		count_allocated(g, entry & Q2_OFFSET_MASK, 1);
	}
	if (q2_l2_claim(image, g->ref, entry, &claim))
		q2_check_count(g->worker, &claim);
}

/* Lets the processor fetch the place of a cluster that will be marked soon. */
__attribute__((always_inline)) static inline void prefetch(const struct going *g, uint64_t index,
							   enum q2_use use)
{
	uint64_t entry, cluster;

	if (index + AHEAD >= g->entries)
		return;
	entry = load_entry(g, index + AHEAD);
	cluster = (entry & Q2_OFFSET_MASK) >> g->geometry->cluster_bits;
	if (cluster < g->worker->clusters.cluster_count)
		q2_clusters_prefetch(&g->worker->clusters, cluster, use);
}

static bool is_plain(const struct going *g, uint64_t index, uint64_t entry)
{
	uint64_t offset = entry & Q2_OFFSET_MASK, subclusters;

	if ((entry & g->not_plain) || offset == 0 || offset >= g->geometry->file_size_bytes)
		return false;
	if (!g->geometry->extended_l2)
		return true;
	subclusters = load_subclusters(g, index);
	return (subclusters >> 32 & subclusters & UINT32_MAX) == 0;
}

/* How many plain entries from index on lead to clusters in a row. */
static uint64_t run_length(const struct going *g, uint64_t index, uint64_t entry)
{
	uint64_t cluster = g->geometry->cluster_size_bytes;
	uint64_t offset = entry & Q2_OFFSET_MASK;
	uint64_t most =
		((g->geometry->file_size_bytes - 1 - offset) >> g->geometry->cluster_bits) + 1;
	uint64_t last = g->entries - index < most ? g->entries : index + most;
	uint64_t at = index + 1;

	if (g->geometry->extended_l2) {
		for (; at < last; at++)
			if (load_entry(g, at) != (entry += cluster) || !is_plain(g, at, entry))
				break;
	} else {
		for (; at < last; at++)
			if (q2_load_be64(g->bytes + at * 8) != (entry += cluster))
				break;
	}
	return at - index;
}

/*
 * Plain entries from index on that lead here and there, of the active image and of one L1 entry:
 * the loop that an image in disorder spends its time in. Returns the index that it cannot go past.
 */
static uint64_t visit_scattered(struct going *g, uint64_t index, enum q2_use use)
{
	const struct q2_clusters *clusters = &g->worker->clusters;
	const uint64_t not_plain = g->not_plain, cluster = g->geometry->cluster_size_bytes;
	const uint64_t last = g->geometry->file_size_bytes - 1, copied = use == Q2_USE_DATA_COPIED;
	const unsigned bits = g->geometry->cluster_bits;
	uint64_t at = index, follows = g->follows, fragments = 0;
	uint64_t entry = load_entry(g, at), next;

	for (; at + 1 < g->entries; at++, entry = next) {
		uint64_t offset = entry & Q2_OFFSET_MASK;

		next = load_entry(g, at + 1);
		/* offset - 1 is huge for no offset at all */
		if ((entry & not_plain) || offset - 1 >= last || entry >> 63 != copied ||
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
	uint64_t first = (entry & Q2_OFFSET_MASK) >> g->geometry->cluster_bits;
	enum q2_use use = q2_l2_use(g->ref, entry);

	if (run == 1 && g->ref->weight == 1) {
		prefetch(g, index, use);
		if (!q2_clusters_note_fresh(&g->worker->clusters, first, use))
			q2_clusters_note(&g->worker->clusters, first, use);
		return;
	}
	q2_clusters_mark(&g->worker->clusters, first, run, use, g->ref->weight);
}

static void visit_table(struct going *g)
{
	for (uint64_t i = 0; i < g->entries;) {
		uint64_t entry = load_entry(g, i), offset = entry & Q2_OFFSET_MASK, run;

		if (entry == 0 && load_subclusters(g, i) == 0) {
			i++;
			continue;
		}
		if (g->geometry->data_file || !is_plain(g, i, entry)) {
			visit_odd(g, i, entry, load_subclusters(g, i));
			i++;
			continue;
		}
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

/* Tables that follow each other closely enough are read at once: [first, last) of the list. */
struct batch {
	size_t first, last;
};

struct work {
	struct qcow2_check *check;
	struct batch *batches;
	size_t count;
};

static uint64_t table_bytes(const struct qcow2_check *check, const struct q2_l2_ref *ref)
{
	uint64_t left = check->geometry->file_size_bytes - ref->offset_bytes;

	return left < check->geometry->cluster_size_bytes ? left
							  : check->geometry->cluster_size_bytes;
}

/* All tables of a batch are in bytes, which starts at the first one. */
static void visit_batch(struct q2_check_worker *worker, const struct batch *batch,
			const uint8_t *bytes)
{
	struct qcow2_check *check = worker->check;
	uint64_t start = check->tables[batch->first].offset_bytes;

	for (size_t i = batch->first; i < batch->last; i++) {
		struct q2_l2_ref *ref = &check->tables[i];
		struct going g = {
			.worker = worker,
			.geometry = check->geometry,
			.ref = ref,
			.bytes = bytes + (ref->offset_bytes - start),
			.entries = q2_div_ceil_u64(table_bytes(check, ref),
						   check->geometry->l2_entry_bytes),
			.not_plain = L2_RESERVED | Q2_COMPRESSED | Q2_ZERO |
				     (check->geometry->cluster_size_bytes - 1),
		};

		q2_check_digest(worker, ref->offset_bytes, g.bytes, table_bytes(check, ref));
		visit_table(&g);
		ref->faulty = g.faulty;
	}
}

static bool work_batch(void *opaque, unsigned number, uint64_t piece)
{
	const struct work *work = opaque;
	struct qcow2_check *check = work->check;
	struct q2_check_worker *worker = &check->workers[number];
	const struct batch *batch = &work->batches[piece];
	struct qcow2_source *source = qcow2_image_source(check->image);
	uint64_t start = check->tables[batch->first].offset_bytes;
	const struct q2_l2_ref *last = &check->tables[batch->last - 1];
	size_t size = (size_t)(last->offset_bytes - start + table_bytes(check, last));

	/* A hole has no entries. */
	if (qcow2_source_hole_end(source, start) - start < size) {
		if (qcow2_source_read(source, start, worker->buffer, size, &worker->err)) {
			worker->failed = true;
			return false;
		}
		/* What the end of the file cuts off an entry reads as zeros. */
		memset(worker->buffer + size, 0, ENTRY_MOST_BYTES);
		visit_batch(worker, batch, worker->buffer);
	}
	atomic_fetch_add(&check->done_bytes, size);
	if (worker->clusters.failed) {
		q2_check_fail_memory(check, &worker->err);
		worker->failed = true;
	}
	return !worker->failed && (number != 0 || q2_check_progress(check));
}

/* Cuts the list of tables into batches of at most a piece each; NULL if memory is short. */
static struct batch *make_batches(struct qcow2_check *check, size_t *count)
{
	struct batch *batches = q2_memory_get(&check->memory, check->table_count, sizeof(*batches));
	uint64_t cluster = check->geometry->cluster_size_bytes;
	uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;

	*count = 0;
	for (size_t i = 0; batches && i < check->table_count; i++) {
		const struct q2_l2_ref *ref = &check->tables[i];
		struct batch *batch = *count ? &batches[*count - 1] : NULL;
		const struct q2_l2_ref *before = i ? &check->tables[i - 1] : NULL;

		check->total_bytes += table_bytes(check, ref);
		if (batch && ref->offset_bytes - before->offset_bytes <= cluster &&
		    ref->offset_bytes + cluster - check->tables[batch->first].offset_bytes <= most)
			batch->last = i + 1;
		else
			batches[(*count)++] = (struct batch){i, i + 1};
	}
	return batches;
}

bool q2_check_claim_l2_tables(struct qcow2_check *check)
{
	for (size_t i = 0; i < check->table_count; i++) {
		const struct q2_l2_ref *ref = &check->tables[i];
		struct q2_claim claim = {.offset_bytes = ref->offset_bytes,
					 .length_bytes = check->geometry->cluster_size_bytes,
					 .use = Q2_USE_METADATA,
					 .weight = ref->weight,
					 .part = Q2_PART_L2,
					 .list = ref->list,
					 .index = ref->index};

		if (ref->active > 0)
			claim.use = ref->copied ? Q2_USE_L2_COPIED : Q2_USE_L2_SHARED;
		if (!check->claim(check, &claim))
			return false;
	}
	return true;
}

static int run_batches(struct qcow2_check *check)
{
	struct work work = {.check = check};
	bool done;

	if (check->table_count == 0)
		return 0;
	work.batches = make_batches(check, &work.count);
	if (!work.batches)
		return q2_check_fail_memory(check, check->err);
	done = q2_crew_run(&(struct q2_crew_work){
		.pieces = work.count,
		.threads = work.count > 1 ? check->threads : 1,
		.work = work_batch,
		.opaque = &work,
	});
	q2_memory_put(&check->memory, work.batches, check->table_count, sizeof(*work.batches));
	return done ? 0 : q2_check_worker_failed(check);
}

int q2_check_l2_tables(struct qcow2_check *check)
{
	struct q2_check_worker *first = &check->workers[0];

	if (!q2_check_claim_l2_tables(check) || run_batches(check))
		return -1;
	for (unsigned i = 0; i < check->threads; i++) {
		struct q2_check_worker *worker = &check->workers[i];

		check->result->allocated_clusters += worker->allocated;
		check->result->fragmented_clusters += worker->fragmented;
		check->result->compressed_clusters += worker->compressed;
		if (i > 0)
			q2_clusters_merge(&first->clusters, &worker->clusters);
	}
	for (unsigned i = 0; i < check->threads; i++)
		q2_clusters_fold(&first->clusters, &check->workers[i].clusters);
	return first->clusters.failed ? q2_check_fail_memory(check, check->err) : 0;
}
