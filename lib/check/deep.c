/* SPDX-License-Identifier: MIT */
/*
 * The deep part of a check: every compressed cluster has to inflate to exactly one cluster, and no
 * two may claim the same bytes. Threads inflate and note which L2 tables have clusters that do not;
 * these are told afterwards, in order, by one thread.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/crew.h"
#include "check/stages.h"
#include "codec/inflate.h"
#include "format/l2_table.h"

/* The bytes that a compressed cluster really takes, and whose they are. */
struct extent {
	uint64_t offset;
	uint64_t length;
	uint32_t table, entry;
};

/* What each thread has for itself. */
struct diver {
	struct q2_inflater *inflater;
	uint8_t *table, *data;
	struct extent *extents;
	size_t count, capacity;
};

struct work {
	struct q2_check *check;
	struct diver *divers;
	bool *faulty; /* by table */
};

/* A compressed cluster that is looked at. */
struct compressed {
	const struct q2_l2_ref *ref;
	uint64_t table, entry;
	struct qcow2_claim claim;
};

/* Told of each compressed cluster, and how many bytes it takes; 0: it does not inflate. */
typedef bool (*visit_compressed)(struct work *work, unsigned number, const struct compressed *c,
				 uint64_t used);

static size_t data_capacity(const struct q2_check *check)
{
	/* The sectors of a descriptor: up to 2^(cluster_bits - 8) of 512 bytes. */
	return (size_t)check->geometry->cluster_size_bytes * 2 + 512;
}

static bool fail_memory(struct work *work, unsigned number)
{
	return q2_worker_fail_memory(&work->check->workers[number]);
}

static bool read_bytes(struct work *work, unsigned number, uint64_t offset, uint8_t *to,
		       uint64_t *size)
{
	struct q2_check *check = work->check;
	struct q2_worker *worker = &check->workers[number];
	uint64_t left = check->geometry->file_size_bytes - offset;

	if (*size > left)
		*size = left;
	if (qcow2_source_read(qcow2_image_source(check->image), offset, to, (size_t)*size,
			      &worker->err)) {
		worker->failed = true;
		return false;
	}
	return true;
}

/*
 * A cluster that starts past the end of the file counts as sound: the rules of its entry have said
 * so already. Sectors past the end are not there; the stream may end before them.
 */
static bool inflate(struct work *work, unsigned number, const struct compressed *c, uint64_t *used)
{
	struct diver *diver = &work->divers[number];
	uint64_t size = c->claim.length_bytes;
	size_t taken = 0;

	*used = 1;
	if (c->claim.offset_bytes >= work->check->geometry->file_size_bytes)
		return true;
	*used = 0;
	if (size > data_capacity(work->check))
		size = data_capacity(work->check);
	if (!read_bytes(work, number, c->claim.offset_bytes, diver->data, &size))
		return false;
	if (q2_inflate(diver->inflater, (struct qcow2_bytes){diver->data, (size_t)size}, &taken))
		*used = taken;
	return true;
}

static bool visit_table(struct work *work, unsigned number, uint64_t table, visit_compressed visit)
{
	struct q2_check *check = work->check;
	const struct qcow2_geometry *geometry = check->geometry;
	struct diver *diver = &work->divers[number];
	struct compressed c = {.ref = &check->metadata.tables[table], .table = table};
	uint64_t size = geometry->cluster_size_bytes, used;

	if (q2_metadata_l2_is_hole(&check->metadata, c.ref))
		return true;
	if (!read_bytes(work, number, c.ref->offset_bytes, diver->table, &size))
		return false;
	for (c.entry = 0; (c.entry + 1) * geometry->l2_entry_bytes <= size; c.entry++) {
		uint64_t entry = q2_l2_entry_at(diver->table, c.entry, geometry->l2_entry_bytes);

		if (!qcow2_l2_is_compressed(entry) ||
		    !q2_l2_claim(geometry, c.ref, entry, &c.claim))
			continue;
		if (!inflate(work, number, &c, &used) || !visit(work, number, &c, used))
			return false;
	}
	return true;
}

/* Remembers what a cluster takes, or that its table has one that does not inflate. */
static bool note(struct work *work, unsigned number, const struct compressed *c, uint64_t used)
{
	struct diver *diver = &work->divers[number];

	if (used == 0) {
		work->faulty[c->table] = true;
		return true;
	}
	if (diver->count == diver->capacity &&
	    !q2_memory_grow(&work->check->memory, (void **)&diver->extents, &diver->capacity,
			    sizeof(*diver->extents)))
		return fail_memory(work, number);
	diver->extents[diver->count++] = (struct extent){c->claim.offset_bytes, used,
							 (uint32_t)c->table, (uint32_t)c->entry};
	return true;
}

static bool work_table(void *opaque, unsigned number, uint64_t piece)
{
	struct work *work = opaque;

	return visit_table(work, number, piece, note) &&
	       (number != 0 || q2_check_progress(work->check) == 0);
}

static void report(struct q2_check *check, struct q2_finding finding, uint64_t table,
		   uint64_t entry)
{
	const struct q2_l2_ref *ref = &check->metadata.tables[table];
	const struct q2_disk disk = q2_metadata_disk(&check->metadata, ref->list);
	struct qcow2_claim claim = {.part = QCOW2_CLAIM_DATA};
	char path[QCOW2_CLAIM_WHERE_MAX];

	q2_l2_claim_name(check->geometry, ref, disk.size_bytes, entry, &claim);
	finding.disk = &disk;
	finding.guest = (struct q2_guest_range){claim.guest_byte, claim.guest_length_bytes};
	finding.shared_by = ref->weight;
	check->damage.at.judged = Q2_JUDGED_L2_ENTRY;
	check->damage.at.index = table;
	check->damage.at.entry = (uint32_t)entry;
	q2_report(&check->reporter, &finding, "%s", qcow2_claim_where(&claim, path, sizeof(path)));
	check->damage.at.judged = Q2_JUDGED_OTHER;
}

static bool tell(struct work *work, unsigned number, const struct compressed *c, uint64_t used)
{
	(void)number;
	if (used == 0)
		report(work->check,
		       (struct q2_finding){.id = QCOW2_PROBLEM_COMPRESSED_INFLATE,
					   .offset_bytes = c->claim.offset_bytes},
		       c->table, c->entry);
	return true;
}

static int by_offset(const void *left, const void *right)
{
	const struct extent *a = left, *b = right;

	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	return a->entry < b->entry ? -1 : a->entry > b->entry;
}

/* Tells that a cluster starts inside the data of another one, which ends at end_bytes. */
static bool tell_overlap(struct q2_check *check, const struct extent *e, uint64_t end_bytes)
{
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t at = check->metadata.tables[e->table].offset_bytes +
		      (uint64_t)e->entry * geometry->l2_entry_bytes;
	uint8_t bytes[8];
	uint64_t entry;

	/* That it was read before is no promise. */
	if (qcow2_source_read(qcow2_image_source(check->image), at, bytes, sizeof(bytes),
			      check->err)) {
		q2_worker_fail(&check->workers[0], check->err);
		return false;
	}
	entry = q2_l2_entry_at(bytes, 0, sizeof(bytes));
	report(check,
	       (struct q2_finding){.id = QCOW2_PROBLEM_COMPRESSED_OVERLAP,
				   .offset_bytes = e->offset,
				   .has_found = true,
				   .found = entry,
				   .expectation = QCOW2_EXPECT_AT_LEAST,
				   .expected = entry - e->offset + end_bytes},
	       e->table, e->entry);
	return true;
}

/*
 * Tells extents that start inside another one. Those that start at one place are one cluster, which
 * tables of snapshots may share. `before` is the extent that reaches furthest so far, so that one
 * that covers many others is compared with all of them.
 */
static bool tell_overlaps(struct q2_check *check, struct diver *all)
{
	const struct extent *before = NULL;

	if (all->count > 1)
		qsort(all->extents, all->count, sizeof(*all->extents), by_offset);
	for (size_t i = 0; i < all->count; i++) {
		const struct extent *e = &all->extents[i];

		if (before && before->offset != e->offset &&
		    e->offset - before->offset < before->length &&
		    !tell_overlap(check, e, before->offset + before->length))
			return false;
		if (!before || e->offset + e->length > before->offset + before->length)
			before = e;
	}
	return true;
}

/* Gives the first thread the extents of all. */
static bool gather(struct work *work)
{
	struct diver *all = &work->divers[0];

	for (unsigned i = 1; i < work->check->threads; i++) {
		struct diver *diver = &work->divers[i];

		for (size_t j = 0; j < diver->count; j++) {
			if (all->count == all->capacity &&
			    !q2_memory_grow(&work->check->memory, (void **)&all->extents,
					    &all->capacity, sizeof(*all->extents)))
				return fail_memory(work, 0);
			all->extents[all->count++] = diver->extents[j];
		}
	}
	return true;
}

static bool dive(struct work *work)
{
	struct q2_check *check = work->check;

	/* A table, a cluster's data, and what it inflates to. */
	if (!q2_memory_charge(&check->memory,
			      check->threads * (2 * check->geometry->cluster_size_bytes +
						data_capacity(check))))
		return fail_memory(work, 0);
	for (unsigned i = 0; i < check->threads; i++) {
		struct diver *diver = &work->divers[i];

		diver->inflater = q2_inflater_new((size_t)check->geometry->cluster_size_bytes,
						  check->header->compression_type == 1);
		diver->table = q2_alloc_buffer((size_t)check->geometry->cluster_size_bytes);
		diver->data = q2_alloc_buffer(data_capacity(check));
		if (!diver->inflater || !diver->table || !diver->data)
			return fail_memory(work, 0);
	}
	if (!q2_crew_run(&(struct q2_crew_work){.pieces = check->metadata.table_count,
						.threads = check->threads,
						.work = work_table,
						.opaque = work}))
		return false;
	for (uint64_t i = 0; i < check->metadata.table_count; i++)
		if (work->faulty[i] && !visit_table(work, 0, i, tell))
			return false;
	if (!gather(work))
		return false;
	return tell_overlaps(check, &work->divers[0]);
}

int q2_check_deep(struct q2_check *check)
{
	struct work work = {.check = check};
	bool done = false;

	if (!check->options->deep || check->metadata.table_count == 0 ||
	    check->geometry->data_file || check->header->compression_type > 1)
		return 0;
	work.divers = q2_memory_get(&check->memory, check->threads, sizeof(*work.divers));
	work.faulty =
		q2_memory_get(&check->memory, check->metadata.table_count, sizeof(*work.faulty));
	if (work.divers && work.faulty)
		done = dive(&work);
	else
		fail_memory(&work, 0);
	for (unsigned i = 0; work.divers && i < check->threads; i++) {
		struct diver *diver = &work.divers[i];

		q2_inflater_free(diver->inflater);
		q2_free(diver->table);
		q2_free(diver->data);
		q2_memory_put(&check->memory, diver->extents, diver->capacity,
			      sizeof(*diver->extents));
	}
	q2_memory_put(&check->memory, work.faulty, check->metadata.table_count,
		      sizeof(*work.faulty));
	q2_memory_put(&check->memory, work.divers, check->threads, sizeof(*work.divers));
	return done ? 0 : q2_check_worker_failed(check);
}
