/* SPDX-License-Identifier: MIT */
/*
 * The first stage: listens to the walk through structures and L1 tables. What is read there is
 * judged by the rules, added to the digest and counted, all in one reading.
 */
#include "base/checked.h"

#include "base/error.h"
#include "check/digest.h"
#include "check/stages.h"
#include "rules/bitmap_tail.h"
#include <qcow2/limits.h>

/*
 * How many different IDs, names and tables duplicates are looked for among: QEMU's limit, with room
 * to spare.
 */
#define SEEN_MAX 1000000

/* No structure of an image that QEMU opens is longer. */
#define TABLE_MOST_BYTES (UINT64_C(64) << 20)

/* The listener, and what it has to remember between entries. */
struct listening {
	struct q2_check *check;
	struct q2_worker *worker;
	struct q2_names_seen snapshots, bitmaps;
	uint64_t needed_entries;       /* of the table of the bitmap that was told last */
	uint64_t data_begin, data_end; /* where the file is known to have data */
};

/* Whether a cluster is a hole. Most often it lies in the same piece of data as the one before. */
static bool is_hole(struct listening *l, uint64_t offset)
{
	const struct qcow2_source *source = qcow2_image_source(l->check->image);
	uint64_t cluster = l->check->geometry->cluster_size_bytes;

	if (offset >= l->data_begin && offset < l->data_end)
		return false;
	if (qcow2_source_hole_end(source, offset) - offset >= cluster)
		return true;
	l->data_begin = offset;
	l->data_end = qcow2_source_data_end(source, offset);
	return false;
}

/* Remembers a block that counts clusters which the file has. */
static int note_block(struct listening *l, const struct qcow2_claim *claim)
{
	struct q2_check *check = l->check;
	uint64_t needed =
		q2_div_ceil_u64(check->file_clusters + 1, check->geometry->refcount_block_entries);

	if (claim->index >= needed)
		return 0;
	if (check->block_count == check->block_capacity &&
	    !q2_memory_grow(&check->memory, (void **)&check->blocks, &check->block_capacity,
			    sizeof(*check->blocks)))
		return q2_memory_fail(&check->memory, check->err);
	check->blocks[check->block_count++] = (struct q2_refcount_block){
		.offset_bytes = claim->offset_bytes,
		.index = claim->index,
		.hole = is_hole(l, claim->offset_bytes),
	};
	return 0;
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct listening *l = opaque;
	struct q2_check *check = l->check;

	if (claim->part == QCOW2_CLAIM_REFCOUNT_BLOCK && note_block(l, claim))
		return -1;
	/* Such tables are broken, and no sign of a cut file. */
	if (claim->offset_bytes % check->geometry->cluster_size_bytes == 0 &&
	    claim->length_bytes <= TABLE_MOST_BYTES)
		q2_missing_note(check, claim->offset_bytes, claim->length_bytes);
	if (claim->length_bytes > check->claims_left) {
		check->claims_are_cut |= claim->part != QCOW2_CLAIM_REFCOUNT_TABLE &&
					 claim->part != QCOW2_CLAIM_REFCOUNT_BLOCK;
		return 0;
	}
	check->claims_left -= claim->length_bytes;
	check->table_counted |= claim->part == QCOW2_CLAIM_REFCOUNT_TABLE;
	check->blocks_counted += claim->part == QCOW2_CLAIM_REFCOUNT_BLOCK;
	q2_worker_count(l->worker, claim);
	return l->worker->clusters.failed ? q2_memory_fail(&check->memory, check->err) : 0;
}

static int hear_progress(void *opaque)
{
	const struct listening *l = opaque;

	return q2_check_progress(l->check);
}

static int hear_table_bytes(void *opaque, uint64_t at, const uint8_t *bytes, size_t size)
{
	const struct listening *l = opaque;

	q2_digest_sectors(l->worker, at, bytes, size);
	return 0;
}

static int hear_luks(void *opaque, uint64_t at, const uint8_t *bytes, size_t size)
{
	const struct listening *l = opaque;

	q2_worker_digest(l->worker, at, bytes, size);
	q2_rules_luks(l->check->image, bytes, size, at, &l->check->reporter);
	return 0;
}

static int hear_snapshot(void *opaque, const struct qcow2_snapshot *snapshot)
{
	struct listening *l = opaque;

	q2_digest_snapshot(l->worker, snapshot);
	l->check->damage.at.judged = Q2_JUDGED_SNAPSHOT;
	l->check->damage.at.index = snapshot->index;
	q2_rules_snapshot(l->check->image, snapshot, &l->snapshots, &l->check->reporter);
	l->check->damage.at.judged = Q2_JUDGED_OTHER;
	return l->snapshots.short_of_memory ? q2_fail_memory(l->check->err) : 0;
}

static int hear_bitmap(void *opaque, const struct qcow2_bitmap *bitmap)
{
	struct listening *l = opaque;
	unsigned bits = bitmap->entry.granularity_bits;

	q2_digest_bitmap(l->worker, bitmap);
	q2_rules_bitmap(l->check->image, bitmap, &l->bitmaps, &l->check->reporter);
	l->needed_entries = bits > QCOW2_LIMIT_BITMAP_GRANULARITY_BITS_MAX
				    ? 0
				    : qcow2_bitmap_table_entries_needed(l->check->geometry, bits);
	return l->bitmaps.short_of_memory ? q2_fail_memory(l->check->err) : 0;
}

static int hear_directory(void *opaque, const struct q2_directory_read *read)
{
	const struct listening *l = opaque;

	q2_rules_bitmap_directory(l->check->image, read, &l->check->reporter);
	return 0;
}

static int hear_l1_entry(void *opaque, const struct q2_entry_place *place, uint64_t entry)
{
	const struct listening *l = opaque;

	l->check->damage.at.judged = Q2_JUDGED_L1_ENTRY;
	q2_rules_l1_entry(l->check->geometry, place, entry, &l->check->reporter);
	l->check->damage.at.judged = Q2_JUDGED_OTHER;
	q2_missing_note_l1_entry(l->check, entry);
	q2_worker_note_beyond(l->worker, entry & QCOW2_ENTRY_MASK(l1_entry, offset));
	return 0;
}

static int hear_refcount_table_entry(void *opaque, const struct q2_entry_place *place,
				     uint64_t entry)
{
	const struct listening *l = opaque;
	uint64_t offset = entry & QCOW2_ENTRY_MASK(refcount_table_entry, offset);

	q2_rules_refcount_table_entry(l->check->geometry, place, entry, &l->check->reporter);
	q2_worker_note_beyond(l->worker, offset);
	if (offset % l->check->geometry->cluster_size_bytes == 0)
		q2_missing_note(l->check, offset, l->check->geometry->cluster_size_bytes);
	return 0;
}

static int hear_bitmap_table_entry(void *opaque, const struct qcow2_bitmap *bitmap,
				   const struct q2_entry_place *place, uint64_t entry)
{
	const struct listening *l = opaque;
	const struct q2_check *check = l->check;
	uint64_t offset = entry & QCOW2_ENTRY_MASK(bitmap_table_entry, offset);

	q2_digest_word(l->worker, place->offset_bytes, entry);
	if (entry == 0 || entry == QCOW2_ENTRY_MASK(bitmap_table_entry, all_ones))
		return 0;
	q2_rules_bitmap_table_entry(check->geometry, place, entry, &check->reporter);
	q2_worker_note_beyond(l->worker, offset);
	if (offset >= check->geometry->file_size_bytes &&
	    offset % check->geometry->cluster_size_bytes == 0)
		q2_missing_note(l->check, offset, check->geometry->cluster_size_bytes);
	/* The bits of a bitmap in use may be stale, and those past its end with them. */
	if (offset == 0 || offset >= check->geometry->file_size_bytes ||
	    place->index + 1 != l->needed_entries || (bitmap->entry.flags & QCOW2_BITMAP_IN_USE))
		return 0;
	return q2_rule_bitmap_tail(check->image, bitmap, offset, l->worker->buffer,
				   &check->reporter, check->err);
}

static void hear_cut(void *opaque)
{
	const struct listening *l = opaque;

	l->check->digest_is_cut = true;
	l->check->claims_are_cut = true; /* what was left out may refer to any cluster */
}

static int walk(struct q2_check *check, const struct q2_listener *listener)
{
	if (q2_metadata_visit_structures(&check->metadata, listener) ||
	    q2_metadata_follow_l1(&check->metadata, listener))
		return -1;
	return q2_metadata_claim_l2_tables(&check->metadata, listener);
}

int q2_check_metadata(struct q2_check *check)
{
	struct listening l = {.check = check, .worker = &check->workers[0]};
	const struct q2_listener listener = {
		.opaque = &l,
		.claim = hear_claim,
		.go_on = hear_progress,
		.table_bytes = hear_table_bytes,
		.luks = hear_luks,
		.snapshot = hear_snapshot,
		.bitmap = hear_bitmap,
		.directory = hear_directory,
		.l1_entry = hear_l1_entry,
		.refcount_table_entry = hear_refcount_table_entry,
		.bitmap_table_entry = hear_bitmap_table_entry,
		.cut = hear_cut,
	};
	int result;

	q2_hash_key_make(&l.snapshots.key);
	l.bitmaps.key = l.snapshots.key;
	q2_name_set_init(&l.snapshots.set, SEEN_MAX);
	q2_name_set_init(&l.bitmaps.set, SEEN_MAX);
	q2_name_set_init(&l.bitmaps.tables, SEEN_MAX);
	q2_missing_note_directory(check);
	result = walk(check, &listener);
	q2_name_set_release(&l.snapshots.set);
	q2_name_set_release(&l.bitmaps.set);
	q2_name_set_release(&l.bitmaps.tables);
	return result;
}
