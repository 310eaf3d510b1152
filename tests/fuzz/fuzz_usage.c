/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the layout of the file: the input is an image. Every cluster is judged once more from the
 * public walk through claims, one by one and without any of the library's shortcuts. Kinds, totals,
 * runs and users have to be the same, with users told apart or not, with owners or not.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#define IMAGE_MOST    ((size_t)1 << 22)
#define CLUSTERS_MOST (IMAGE_MOST / 512)
#define L2_MOST       4096
#define SNAPSHOTS     30
#define BITMAPS       30
#define MEMORY_BYTES  (UINT64_C(64) << 20)

/* Bits of a mask of users; those of the library start with the active image. */
#define PERMANENT (UINT64_C(1) << 63)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is known of a cluster. */
struct cell {
	unsigned references; /* 2 stands for many */
	bool conflict, compressed;
	enum qcow2_claim_part part;
	uint64_t users, machines;
	bool counted;
	/* The first one that has its first byte, or else the first one that refers to it. */
	struct qcow2_claim first;
	bool has_first_byte;
};

/* A distinct L2 table, as the walk tells it. */
struct l2 {
	struct qcow2_claim claim;
	uint64_t users, machines;
};

struct model {
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	uint64_t clusters;
	struct cell cells[CLUSTERS_MOST + 1];
	struct cell
		weak[CLUSTERS_MOST + 1]; /* from the first claim that passes the end of the file */
	struct l2 l2[L2_MOST];
	size_t l2_count, l2_at;
	uint64_t snapshots, bitmaps;
	bool too_large; /* for this model */
};

static struct model model; /* too large for the stack */

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static bool is_data(const struct cell *cell)
{
	return cell->part == QCOW2_CLAIM_DATA;
}

static void refer(struct cell *cell, const struct cell *by)
{
	if (cell->references == 0) {
		const bool counted = cell->counted;

		*cell = *by;
		cell->counted = counted;
		return;
	}
	cell->conflict |= by->conflict || !is_data(cell) || !is_data(by) ||
			  cell->compressed != by->compressed;
	if (by->has_first_byte && !cell->has_first_byte)
		cell->first = by->first;
	cell->has_first_byte |= by->has_first_byte;
	cell->references = 2;
	cell->users |= by->users;
	cell->machines |= by->machines;
}

static void refer_all(const struct qcow2_claim *claim, struct cell *by)
{
	const uint64_t size = model.geometry->file_size_bytes;
	uint64_t end = claim->offset_bytes + claim->length_bytes;

	if (claim->length_bytes == 0 || claim->offset_bytes >= size)
		return;
	if (end < claim->offset_bytes)
		end = UINT64_MAX;
	for (uint64_t i = claim->offset_bytes >> model.geometry->cluster_bits;
	     i < model.clusters && i << model.geometry->cluster_bits < end; i++) {
		by->has_first_byte = claim->offset_bytes <= i << model.geometry->cluster_bits;
		if (end <= size || end - size < model.geometry->cluster_size_bytes)
			refer(&model.cells[i], by);
		else if (model.weak[i].references == 0)
			model.weak[i] = *by;
	}
}

/* Says of each L2 table that an L1 table leads to whose it is. */
static void read_l1(uint64_t offset, uint64_t entries, uint64_t user, uint64_t machine_index)
{
	struct qcow2_table *table;
	struct qcow2_error err;

	if (offset >= model.geometry->file_size_bytes ||
	    qcow2_table_open(model.image, &table, &err))
		return;
	entries = qcow2_table_begin(table, offset, entries);
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t entry;

		demand(qcow2_table_entry(table, i, &entry, &err) == 0);
		entry &= QCOW2_ENTRY_MASK(l1_entry, offset);
		for (size_t j = 0; entry != 0 && j < model.l2_count; j++)
			if (model.l2[j].claim.offset_bytes == entry) {
				model.l2[j].users |= user;
				if (i >= machine_index)
					model.l2[j].machines |= user;
			}
	}
	qcow2_table_close(table);
}

static void read_all_l1(void)
{
	const struct qcow2_header *header = qcow2_image_header(model.image);
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct qcow2_error err;

	read_l1(header->l1_table_offset, header->l1_size, 1, UINT64_MAX);
	if (header->nb_snapshots == 0 || qcow2_snapshots_open(model.image, &snapshots, &err))
		return;
	while (model.snapshots < SNAPSHOTS &&
	       qcow2_snapshots_next(snapshots, &snapshot, &err) > 0) {
		const uint64_t part = model.geometry->l2_entries << model.geometry->cluster_bits;
		const uint64_t size = snapshot->disk_size_bytes;

		model.snapshots++;
		if (snapshot->raw.size >= 40)
			read_l1(snapshot->header.l1_table_offset, snapshot->header.l1_size,
				UINT64_C(1) << model.snapshots, size / part + (size % part != 0));
	}
	model.too_large |= model.snapshots == SNAPSHOTS;
	qcow2_snapshots_close(snapshots);
}

static int hear_l2(void *opaque, const struct qcow2_claim *claim)
{
	(void)opaque;
	if (claim->part == QCOW2_CLAIM_BITMAP_TABLE && claim->part_of_index >= model.bitmaps)
		model.bitmaps = claim->part_of_index + 1;
	if (claim->part == QCOW2_CLAIM_L2_TABLE) {
		model.too_large |= model.l2_count == L2_MOST;
		if (model.l2_count < L2_MOST)
			model.l2[model.l2_count++].claim = *claim;
	}
	return 0;
}

/* The L2 table that a claim is one of, or that it is an entry of. The walk keeps their order. */
static const struct l2 *find_l2(const struct qcow2_claim *claim)
{
	for (; model.l2_at < model.l2_count; model.l2_at++) {
		const struct l2 *l2 = &model.l2[model.l2_at];

		if (l2->claim.part_of == claim->part_of && l2->claim.index == claim->index &&
		    l2->claim.part_of_index == claim->part_of_index)
			return l2;
	}
	abort();
}

static int hear(void *opaque, const struct qcow2_claim *claim)
{
	struct cell by = {.references = 1,
			  .first = *claim,
			  .part = claim->part,
			  .compressed = claim->use == QCOW2_USE_COMPRESSED,
			  .users = PERMANENT};
	bool *in_data = opaque;

	if (claim->part == QCOW2_CLAIM_DATA && !*in_data) {
		*in_data = true;
		model.l2_at = 0;
	}
	if (claim->part == QCOW2_CLAIM_DATA || claim->part == QCOW2_CLAIM_L2_TABLE) {
		const struct l2 *l2 = find_l2(claim);

		by.users = l2->users;
		by.machines = claim->part == QCOW2_CLAIM_DATA ? l2->machines : 0;
	} else if (claim->part_of == QCOW2_PART_OF_SNAPSHOT)
		by.users = UINT64_C(1) << (1 + claim->part_of_index);
	else if (claim->part_of == QCOW2_PART_OF_BITMAP)
		by.users = UINT64_C(1) << (1 + model.snapshots + claim->part_of_index);
	else if (claim->part == QCOW2_CLAIM_L1_TABLE)
		by.users = 1;
	refer_all(claim, &by);
	return 0;
}

static void read_refcounts(void)
{
	const struct qcow2_header *header = qcow2_image_header(model.image);
	const uint64_t of_block = model.geometry->refcount_block_entries;
	struct qcow2_table *table, *block;
	struct qcow2_error err;
	uint64_t entries;

	demand(qcow2_table_open(model.image, &table, &err) == 0 &&
	       qcow2_table_open(model.image, &block, &err) == 0);
	entries = header->refcount_table_offset == 0 ||
				  header->refcount_table_offset >= model.geometry->file_size_bytes
			  ? 0
			  : qcow2_table_begin(table, header->refcount_table_offset,
					      header->refcount_table_clusters *
						      (model.geometry->cluster_size_bytes / 8));
	for (uint64_t i = 0; i < model.clusters && i / of_block < entries; i++) {
		uint64_t entry, refcount = 0, words;

		demand(qcow2_table_entry(table, i / of_block, &entry, &err) == 0);
		entry &= QCOW2_ENTRY_MASK(refcount_table_entry, offset);
		if (entry == 0 || entry % model.geometry->cluster_size_bytes != 0 ||
		    entry >= model.geometry->file_size_bytes)
			continue;
		words = qcow2_table_begin(block, entry, model.geometry->cluster_size_bytes / 8);
		if (i % of_block * model.geometry->refcount_bits / 64 < words)
			demand(qcow2_table_refcount(block, i % of_block, &refcount, &err) == 0);
		model.cells[i].counted = refcount != 0;
	}
	qcow2_table_close(table);
	qcow2_table_close(block);
}

static enum qcow2_usage_kind kind_of(const struct cell *cell)
{
	static const enum qcow2_usage_kind kinds[] = {
		[QCOW2_CLAIM_HEADER] = QCOW2_USAGE_HEADER,
		[QCOW2_CLAIM_L1_TABLE] = QCOW2_USAGE_L1_TABLE,
		[QCOW2_CLAIM_REFCOUNT_TABLE] = QCOW2_USAGE_REFCOUNT_TABLE,
		[QCOW2_CLAIM_REFCOUNT_BLOCK] = QCOW2_USAGE_REFCOUNT_BLOCK,
		[QCOW2_CLAIM_SNAPSHOT_TABLE] = QCOW2_USAGE_SNAPSHOT_TABLE,
		[QCOW2_CLAIM_BITMAP_DIRECTORY] = QCOW2_USAGE_BITMAP_DIRECTORY,
		[QCOW2_CLAIM_BITMAP_TABLE] = QCOW2_USAGE_BITMAP_TABLE,
		[QCOW2_CLAIM_BITMAP_DATA] = QCOW2_USAGE_BITMAP_DATA,
		[QCOW2_CLAIM_LUKS] = QCOW2_USAGE_CRYPTO,
		[QCOW2_CLAIM_L2_TABLE] = QCOW2_USAGE_L2_TABLE,
	};

	if (cell->references == 0)
		return cell->counted ? QCOW2_USAGE_LEAKED : QCOW2_USAGE_FREE;
	if (cell->conflict)
		return QCOW2_USAGE_CONFLICT;
	if (!is_data(cell))
		return kinds[cell->part];
	if (!(cell->users & 1))
		return QCOW2_USAGE_SNAPSHOT_ONLY;
	if (cell->users != 1)
		return QCOW2_USAGE_SHARED;
	return cell->compressed ? QCOW2_USAGE_COMPRESSED : QCOW2_USAGE_DATA;
}

/* False if the image is more than this model can do. */
static bool make_model(const struct qcow2_image *image)
{
	const struct qcow2_claims_options options = {
		.size = sizeof(options), .memory_limit_bytes = MEMORY_BYTES, .without_data = true};
	struct qcow2_claims_options with_data = options;
	struct qcow2_error err;
	bool in_data = false;

	memset(&model, 0, sizeof(model));
	model.image = image;
	model.geometry = qcow2_image_geometry(image);
	model.clusters =
		(model.geometry->file_size_bytes - 1) / model.geometry->cluster_size_bytes + 1;
	if (qcow2_claims_walk(image, &options, hear_l2, NULL, &err) || model.too_large)
		return false;
	read_all_l1();
	if (model.too_large || model.bitmaps > BITMAPS)
		return false;
	with_data.without_data = false;
	if (qcow2_claims_walk(image, &with_data, hear, &in_data, &err))
		return false;
	read_refcounts();
	for (uint64_t i = 0; i < model.clusters; i++)
		if (model.weak[i].references != 0 && model.cells[i].references == 0)
			model.cells[i] = model.weak[i];
	return true;
}

static void judge_owner(const struct qcow2_usage_run *run)
{
	const struct cell *cell = &model.cells[run->start.byte >> model.geometry->cluster_bits];
	char where[QCOW2_CLAIM_WHERE_MAX], expected[QCOW2_CLAIM_WHERE_MAX];

	demand((run->owner == NULL) == (cell->references == 0));
	if (!run->owner)
		return;
	qcow2_claim_where(run->owner, where, sizeof(where));
	qcow2_claim_where(&cell->first, expected, sizeof(expected));
	demand(strcmp(where, expected) == 0);
	demand(run->owner->offset_bytes == cell->first.offset_bytes &&
	       run->owner->length_bytes == cell->first.length_bytes &&
	       run->owner->guest_byte == cell->first.guest_byte &&
	       run->owner->has_guest == cell->first.has_guest);
}

static void judge_runs(struct qcow2_usage *usage, bool owners)
{
	uint64_t bytes[QCOW2_USAGE_KINDS] = {0}, at = 0, sum = 0;
	const struct qcow2_usage_run *run;
	struct qcow2_error err;
	int before = -1, more;

	while ((more = qcow2_usage_next(usage, &run, &err)) > 0) {
		demand(run->start.byte == at && run->length_bytes > 0 && before != (int)run->kind);
		for (; at < run->start.byte + run->length_bytes;
		     at += model.geometry->cluster_size_bytes)
			demand(kind_of(&model.cells[at >> model.geometry->cluster_bits]) ==
			       run->kind);
		at = run->start.byte + run->length_bytes;
		bytes[run->kind] += run->length_bytes;
		before = (int)run->kind;
		if (owners)
			judge_owner(run);
		else
			demand(!run->owner);
	}
	demand(more == 0 && at == model.geometry->file_size_bytes);
	for (unsigned i = 0; i < QCOW2_USAGE_KINDS; i++) {
		demand(qcow2_usage_total_of(usage, (enum qcow2_usage_kind)i)->bytes == bytes[i]);
		sum += bytes[i];
	}
	demand(sum == at);
}

/* What deleting the users of a mask would free. */
static uint64_t freed_by(uint64_t users)
{
	uint64_t clusters = 0;

	for (uint64_t i = 0; i < model.clusters; i++)
		clusters += model.cells[i].references != 0 && !(model.cells[i].users & ~users);
	return clusters << model.geometry->cluster_bits;
}

static void judge_users(const struct qcow2_usage *usage)
{
	const uint64_t count = qcow2_usage_user_count(usage);

	demand(count >= 1 + model.snapshots && count >= model.snapshots + 1 + model.bitmaps);
	for (uint64_t i = 0; i < count && i < 60; i++) {
		const struct qcow2_usage_user *user = qcow2_usage_user_at(usage, i);
		const uint64_t mask = UINT64_C(1) << i;
		uint64_t referenced = 0, machine = 0, pair[] = {i / 2, i}, freed;
		struct qcow2_error err;

		for (uint64_t j = 0; j < model.clusters; j++) {
			referenced += (model.cells[j].users & mask) != 0;
			machine += (model.cells[j].machines & mask) != 0;
		}
		demand(user->referenced_bytes == referenced << model.geometry->cluster_bits);
		demand(user->exclusive_bytes == freed_by(mask));
		demand(user->vm_state_bytes == machine << model.geometry->cluster_bits);
		demand(qcow2_usage_freed_bytes(usage, pair, i == 0 ? 1 : 2, &freed, &err) == 0);
		demand(freed == freed_by(mask | UINT64_C(1) << (i / 2)));
	}
}

static void judge(const struct qcow2_image *image)
{
	for (unsigned way = 0; way < 4; way++) {
		const struct qcow2_usage_options options = {.size = sizeof(options),
							    .memory_limit_bytes = MEMORY_BYTES,
							    .users = way % 2,
							    .owners = way / 2,
							    .threads = 1 + way / 2};
		struct qcow2_usage *usage;
		struct qcow2_error err;

		if (qcow2_usage_open(image, &options, &usage, &err)) {
			demand(err.code == QCOW2_ERROR_LIMIT);
			continue;
		}
		judge_runs(usage, options.owners);
		judge_runs(usage, options.owners);
		if (options.users)
			judge_users(usage);
		qcow2_usage_close(usage);
	}
}

static void try_without_model(const struct qcow2_image *image)
{
	struct qcow2_fragmentation sums = {.size = sizeof(sums)};
	struct qcow2_usage *usage;
	struct qcow2_error err;

	if (qcow2_usage_open(image, NULL, &usage, &err) == 0)
		qcow2_usage_close(usage);
	if (qcow2_fragmentation_measure(image, &sums, &err) == 0)
		demand(sums.seeks <= sums.runs && sums.longest_bytes <= sums.data_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (size > IMAGE_MOST)
		return 0;
	demand(qcow2_source_from_memory(data, size, &source, &err) == 0);
	if (qcow2_image_open(source, &image, &err) == 0) {
		try_without_model(image);
		if (qcow2_image_geometry(image) && make_model(image))
			judge(image);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
