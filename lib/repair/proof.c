/* SPDX-License-Identifier: MIT */
/* Compares what each disk reads before a repair and after it: see proof.h. */
#include "repair/proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/mapping_diff.h>
#include <qcow2/snapshot.h>
#include <qcow2/table.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/mapping/mapping.h"
#include "repair/repair.h"
#include "repair/result.h"

/* L1 entries between two looks for holes. */
#define ENTRIES_APART 4096
/* A compressed cluster that is copied may end in one sector less. */
#define SECTOR_BYTES 512

/* Neither deflate nor zstd knows what to do with so many zeros at the start. */
#define BEGINNING_BYTES 16

/* Where a disk is kept: its L1 table. */
struct place {
	uint64_t offset_bytes, entries;
};

/* One disk, before and after. */
struct proof {
	struct q2_repair *repair;
	struct qcow2_image *images[2];
	struct qcow2_source *sources[2];
	struct qcow2_table *tables[2];
	bool whole;    /* every table has to be compared, not those alone that are written to */
	uint64_t disk; /* as in struct q2_told_range */
	struct place places[2];
	struct qcow2_mapping *mappings[2];
	struct qcow2_mapping_diff *diff;
};

/* ---- one difference ---- */

/* Whether the guest reads zeros: QEMU does also of data that lies past the end of the file. */
static bool reads_zeros(const struct qcow2_mapping_side *side)
{
	if (side->kind == QCOW2_L2_ZERO || side->kind == QCOW2_L2_ZERO_ALLOCATED)
		return true;
	return side->kind == QCOW2_L2_INVALID && side->problem == QCOW2_PROBLEM_DATA_BEYOND_END;
}

/* Whether it reads what the backing file has: so also of tables past the end of the file. */
static bool reads_backing(const struct qcow2_mapping_side *side)
{
	if (side->kind == QCOW2_L2_INVALID)
		return side->problem == QCOW2_PROBLEM_L2_TABLE_BEYOND_END ||
		       side->problem == QCOW2_PROBLEM_L1_BEYOND_END ||
		       side->problem == QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END;
	return side->kind == QCOW2_L2_UNALLOCATED;
}

/* Sets *same to whether two places of the file have the same bytes, before and after. */
static int compare_bytes(const struct proof *proof, const struct qcow2_mapping_side *old,
			 const struct qcow2_mapping_side *new, bool *same)
{
	const struct qcow2_plan *plan = proof->repair->plan;
	uint8_t one[4096], other[sizeof(one)];
	uint64_t size = old->host_bytes < new->host_bytes ? old->host_bytes : new->host_bytes;

	*same = size + SECTOR_BYTES > old->host_bytes;
	for (uint64_t done = 0; done < size && *same; done += sizeof(one)) {
		size_t piece = size - done < sizeof(one) ? (size_t)(size - done) : sizeof(one);

		if (q2_plan_read_old(plan, old->host.byte + done, one, piece, proof->repair->err) ||
		    q2_plan_read(plan, new->host.byte + done, other, piece, proof->repair->err))
			return -1;
		*same = memcmp(one, other, piece) == 0;
	}
	return 0;
}

/* Sets *zeros to whether `size` bytes of a place are nothing but zeros after the repair. */
static int find_zeros(const struct proof *proof, const struct qcow2_mapping_side *new,
		      uint64_t size, bool *zeros)
{
	static const uint8_t none[4096];
	uint8_t bytes[sizeof(none)];

	*zeros = true;
	for (uint64_t done = 0; done < size; done += sizeof(none)) {
		uint64_t left = size - done;
		size_t piece = left < sizeof(none) ? (size_t)left : sizeof(none);

		if (q2_plan_read(proof->repair->plan, new->host.byte + done, bytes, piece,
				 proof->repair->err))
			return -1;
		*zeros = memcmp(bytes, none, piece) == 0;
		if (!*zeros)
			break;
	}
	return 0;
}

/* Sets *same to whether the guest reads of a difference what it read. */
static int reads_alike(const struct proof *proof, const struct qcow2_mapping_difference *found,
		       bool *same)
{
	const struct qcow2_mapping_side *old = found->sides[0], *new = found->sides[1];
	bool backed = qcow2_image_backing_name(proof->images[0]).size > 0 ||
		      qcow2_image_backing_name(proof->images[1]).size > 0;

	/* A disk that is longer had nothing there. That one is shorter, a step says of the whole. */
	*same = found->reads_same || !old ||
		(!new && old->kind != QCOW2_L2_DATA && old->kind != QCOW2_L2_COMPRESSED);
	if (*same || !new)
		return 0;
	/* What could not be read still cannot. */
	*same = (old->kind == QCOW2_L2_INVALID && new->kind == old->kind &&
		 old->problem == new->problem) ||
		(reads_zeros(old) && reads_zeros(new)) ||
		(reads_backing(old) && reads_backing(new)) ||
		(!backed && (reads_zeros(old) || reads_backing(old)) &&
		 (reads_zeros(new) || reads_backing(new)));
	if (*same || proof->repair->geometry->data_file)
		return 0;
	/* What the end of the file cut off lies in it once it grows: a hole. */
	if (reads_zeros(old) && new->kind == QCOW2_L2_DATA)
		return find_zeros(proof, new, new->host_bytes, same);
	/* The same of compressed data: it was zeros, which nothing inflates, and still begins so. */
	if (old->kind == QCOW2_L2_INVALID && old->problem == QCOW2_PROBLEM_COMPRESSED_BEYOND_END &&
	    new->kind == QCOW2_L2_COMPRESSED)
		return find_zeros(proof, new,
				  new->host_bytes < BEGINNING_BYTES ? new->host_bytes
								    : BEGINNING_BYTES,
				  same);
	if (old->kind != new->kind ||
	    (old->kind != QCOW2_L2_DATA && old->kind != QCOW2_L2_COMPRESSED))
		return 0;
	return compare_bytes(proof, old, new, same);
}

static int fail(const struct proof *proof, uint64_t start, uint64_t end)
{
	char disk[64] = "the guest";

	if (proof->disk > 0)
		snprintf(disk, sizeof(disk), "snapshot %" PRIu64, proof->disk - 1);
	return q2_fail(proof->repair->err, QCOW2_ERROR_BROKEN, QCOW2_NO_OFFSET,
		       "%s would read something else at 0x%" PRIx64 "..0x%" PRIx64
		       ", and no step of the repair says so: nothing is done",
		       disk, start, end - 1);
}

/*
 * Whether the file leads to a part of the disk by bytes of the header: its L1 table, or an L2 table,
 * claims to be there. What is read by them is nonsense, and any change of the header changes it.
 */
static bool is_read_by_header(const struct proof *proof, uint64_t start, uint64_t end)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(proof->images[0]);
	const uint64_t span = geometry->l2_entries << geometry->cluster_bits;
	const uint64_t cluster = geometry->cluster_size_bytes;
	uint64_t at = proof->places[0].offset_bytes + start / span * 8;
	uint64_t last = proof->places[0].offset_bytes + (end - 1) / span * 8;
	struct qcow2_error ignored;
	uint8_t word[8];

	for (; at <= last; at += sizeof(word)) {
		if (at < cluster)
			continue;
		if (at >= geometry->file_size_bytes ||
		    q2_plan_read_old(proof->repair->plan, at, word, sizeof(word), &ignored) ||
		    q2_load_be64(word) == 0 ||
		    (q2_load_be64(word) & QCOW2_ENTRY_MASK(l1_entry, offset)) >= cluster)
			return false;
	}
	return true;
}

static int tell_header(const struct proof *proof, uint64_t start, uint64_t length)
{
	const struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(QCOW2_PROBLEM_CLUSTER_OWNERS),
		.where = "header",
		.does = "changes the header, whose bytes seem to map a part of a disk",
		.has_guest = true,
		.guest_byte = start,
		.guest_length_bytes = length,
		.guest_of = proof->disk > 0 ? QCOW2_PART_OF_SNAPSHOT : QCOW2_PART_OF_IMAGE,
		.guest_of_index = proof->disk > 0 ? proof->disk - 1 : 0,
		.before = QCOW2_READS_FOREIGN,
		.after = QCOW2_READS_FOREIGN,
	};

	return q2_repair_tell_first(proof->repair, &step);
}

static int prove_range(const struct proof *proof, uint64_t start, uint64_t length)
{
	const struct qcow2_mapping_difference *found;
	uint64_t end;
	bool same;
	int more;

	qcow2_mapping_diff_seek(proof->diff, (struct qcow2_guest){start}, length);
	while ((more = qcow2_mapping_diff_next(proof->diff, &found, proof->repair->err)) > 0) {
		end = found->start.byte + found->length_bytes;
		if (q2_told_covers(&proof->repair->told, proof->disk, found->start.byte, end))
			continue;
		if (reads_alike(proof, found, &same))
			return -1;
		if (same)
			continue;
		if (!is_read_by_header(proof, found->start.byte, end))
			return fail(proof, found->start.byte, end);
		if (tell_header(proof, found->start.byte, found->length_bytes))
			return -1;
	}
	return more;
}

/* ---- one disk ---- */

/* Reads an L1 entry, without the copied flag; 0 where the table has none. */
static int read_entry(const struct proof *proof, unsigned side, uint64_t there, uint64_t i,
		      uint64_t *entry)
{
	*entry = 0;
	if (i >= there)
		return 0;
	if (qcow2_table_entry(proof->tables[side], i, entry, proof->repair->err))
		return -1;
	*entry &= ~QCOW2_ENTRY_MASK(l1_entry, copied);
	return 0;
}

/* How many L1 entries from `i` on lie in holes of both tables. */
static uint64_t skip_holes(const struct proof *proof, uint64_t i)
{
	uint64_t least = UINT64_MAX;

	for (unsigned side = 0; side < 2; side++) {
		uint64_t at = proof->places[side].offset_bytes + i * sizeof(uint64_t);
		uint64_t end = qcow2_source_hole_end(proof->sources[side], at);

		if ((end - at) / sizeof(uint64_t) < least)
			least = (end - at) / sizeof(uint64_t);
	}
	return least;
}

/* Whether an L1 entry leads to what the plan leaves alone. */
static bool is_left_alone(const struct proof *proof, uint64_t old, uint64_t new)
{
	const struct qcow2_geometry *geometry = proof->repair->geometry;
	uint64_t offset = new &QCOW2_ENTRY_MASK(l1_entry, offset);

	return old == new && (offset == 0 || !q2_plan_touches(proof->repair->plan, offset,
							      geometry->cluster_size_bytes));
}

/* Compares what the L1 entries map that differ, or lead to a table that the plan writes to. */
static int prove_entries(const struct proof *proof, uint64_t entries, uint64_t span)
{
	uint64_t there[2], value[2], begin = 0, i;

	for (unsigned side = 0; side < 2; side++)
		there[side] =
			qcow2_table_begin(proof->tables[side], proof->places[side].offset_bytes,
					  proof->places[side].entries);
	if (entries > there[0] && entries > there[1])
		entries = there[0] > there[1] ? there[0] : there[1];
	for (i = 0; i < entries; i++) {
		if (i % ENTRIES_APART == 0 && begin == i) {
			i += skip_holes(proof, i) & ~(uint64_t)(ENTRIES_APART - 1);
			begin = i;
		}
		if (i >= entries)
			break;
		for (unsigned side = 0; side < 2; side++)
			if (read_entry(proof, side, there[side], i, &value[side]))
				return -1;
		if (!is_left_alone(proof, value[0], value[1]))
			continue;
		if (i > begin && prove_range(proof, begin * span, (i - begin) * span))
			return -1;
		begin = i + 1;
	}
	return begin < entries ? prove_range(proof, begin * span, (entries - begin) * span) : 0;
}

static int prove_disk(struct proof *proof)
{
	const struct qcow2_geometry *old = qcow2_image_geometry(proof->images[0]);
	const struct qcow2_geometry *new = qcow2_image_geometry(proof->images[1]);
	uint64_t span = new->l2_entries << new->cluster_bits, size = 0, sizes[2];
	int failed;

	if (qcow2_mapping_diff_open(proof->mappings[0], proof->mappings[1], NULL, &proof->diff,
				    proof->repair->err))
		return -1;
	for (unsigned side = 0; side < 2; side++)
		sizes[side] = qcow2_mapping_size_bytes(proof->mappings[side]);
	size = sizes[0] > sizes[1] ? sizes[0] : sizes[1];
	if (proof->whole || sizes[0] != sizes[1] || old->cluster_bits != new->cluster_bits ||
	    old->l2_entry_bytes != new->l2_entry_bytes)
		failed = prove_range(proof, 0, UINT64_MAX);
	else
		failed = prove_entries(proof, q2_div_ceil_u64(size, span), span);
	qcow2_mapping_diff_close(proof->diff);
	return failed;
}

static void close_disk(struct proof *proof)
{
	for (unsigned side = 0; side < 2; side++) {
		qcow2_mapping_close(proof->mappings[side]);
		proof->mappings[side] = NULL;
	}
}

static int prove_active(struct proof *proof)
{
	int failed;

	proof->disk = 0;
	for (unsigned side = 0; side < 2; side++) {
		const struct qcow2_header *header = qcow2_image_header(proof->images[side]);

		proof->places[side] = (struct place){header->l1_table_offset, header->l1_size};
		if (qcow2_mapping_open(proof->images[side], &proof->mappings[side],
				       proof->repair->err))
			return -1;
	}
	failed = prove_disk(proof);
	close_disk(proof);
	return failed;
}

static int prove_snapshot(struct proof *proof, const struct qcow2_snapshot *old,
			  const struct qcow2_snapshot *new)
{
	const struct qcow2_snapshot *snapshots[2] = {old, new};
	int failed = 0;

	proof->disk = 1 + old->index;
	for (unsigned side = 0; side < 2 && !failed; side++) {
		proof->places[side] = (struct place){snapshots[side]->header.l1_table_offset,
						     snapshots[side]->header.l1_size};
		failed = q2_mapping_open_of(proof->images[side], snapshots[side],
					    &proof->mappings[side], proof->repair->err);
	}
	if (!failed)
		failed = prove_disk(proof);
	close_disk(proof);
	return failed;
}

/* ---- all disks ---- */

static bool is_same(struct qcow2_bytes one, struct qcow2_bytes other)
{
	return one.size == other.size &&
	       (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
}

/*
 * Finds a snapshot again. The order of those that stay is kept. 1 with *now set, 0 if it is gone,
 * which is for the guards to judge, or -1.
 */
static int find_again(struct proof *proof, struct qcow2_snapshots *after,
		      const struct qcow2_snapshot *old, const struct qcow2_snapshot **now)
{
	int more = *now ? 1 : qcow2_snapshots_next(after, now, proof->repair->err);

	if (more <= 0)
		return more;
	return is_same(old->id, (*now)->id) && is_same(old->name, (*now)->name);
}

static int prove_each(struct proof *proof, struct qcow2_snapshots *before,
		      struct qcow2_snapshots *after)
{
	const struct qcow2_snapshot *old, *now = NULL;
	int more, found;

	while ((more = qcow2_snapshots_next(before, &old, proof->repair->err)) > 0) {
		if (old->cut)
			return 0;
		found = find_again(proof, after, old, &now);
		if (found < 0 || (found > 0 && prove_snapshot(proof, old, now)))
			return -1;
		if (found > 0)
			now = NULL;
	}
	return more;
}

/* Snapshots whose table cannot be found before could not be read. */
static int prove_snapshots(struct proof *proof)
{
	struct qcow2_snapshots *lists[2] = {NULL, NULL};
	int failed = 0;

	for (unsigned side = 0; side < 2; side++)
		if (qcow2_snapshots_open(proof->images[side], &lists[side], proof->repair->err))
			failed = proof->repair->err->code == QCOW2_ERROR_NOT_FOUND ||
						 proof->repair->err->code == QCOW2_ERROR_BROKEN
					 ? failed
					 : -1;
	if (!failed && lists[0] && lists[1])
		failed = prove_each(proof, lists[0], lists[1]);
	qcow2_snapshots_close(lists[0]);
	qcow2_snapshots_close(lists[1]);
	return failed;
}

/* Whether the file grows while entries lead past its end, which may then lead to something. */
static bool grows_beneath(const struct q2_repair *repair)
{
	static const enum qcow2_problem_id beyond[] = {
		QCOW2_PROBLEM_DATA_BEYOND_END, QCOW2_PROBLEM_COMPRESSED_BEYOND_END,
		QCOW2_PROBLEM_ZERO_BEYOND_END, QCOW2_PROBLEM_L2_TABLE_BEYOND_END,
		QCOW2_PROBLEM_L1_BEYOND_END,
	};
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++)
		sum += repair->result->before.by_kind[beyond[i]];
	return sum > 0 && qcow2_plan_size_bytes(repair->plan) > repair->plan->old_size_bytes;
}

static int prove(struct proof *proof)
{
	struct q2_repair *repair = proof->repair;

	if (qcow2_table_open(proof->images[0], &proof->tables[0], repair->err) ||
	    qcow2_table_open(proof->images[1], &proof->tables[1], repair->err) ||
	    prove_active(proof))
		return -1;
	return prove_snapshots(proof);
}

int q2_repair_prove(struct q2_repair *repair)
{
	struct proof proof = {.repair = repair, .images[1] = repair->image};
	int failed;

	/* Without a geometry, nobody could read anything. */
	if (!repair->geometry ||
	    qcow2_image_open(repair->plan->source, &proof.images[0], repair->err))
		return repair->geometry ? -1 : 0;
	proof.sources[0] = repair->plan->source;
	proof.sources[1] = repair->view;
	proof.whole = grows_beneath(repair);
	q2_told_sort(&repair->told);
	failed = qcow2_image_geometry(proof.images[0]) ? prove(&proof) : 0;
	/* A table that all parts of a disk share. */
	if (failed && repair->err->code == QCOW2_ERROR_LIMIT)
		q2_fail(repair->err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			"so many parts of a disk share L2 tables that what they read cannot be "
			"compared: 'qemu-img convert' copies what can be read, --only=refcounts "
			"mends no mapping");
	close_disk(&proof);
	qcow2_table_close(proof.tables[0]);
	qcow2_table_close(proof.tables[1]);
	qcow2_image_close(proof.images[0]);
	return failed;
}
