/* SPDX-License-Identifier: MIT */
/*
 * Lost mappings. Where a table that maps guest data was zeroed or overwritten, the data is still in
 * clusters that nothing refers to any more: to the refcounts these are leaks, and whoever frees them
 * gives the data away. Leaks may be data if some of them read as L2 tables of the image, if they hold
 * anything at all while a table is empty or broken, or if they fit a hole in a table.
 */
#include <inttypes.h>

#include <qcow2/snapshot.h>

#include "base/error.h"
#include "check/check.h"
#include "check/holes.h"
#include "check/stages.h"
#include "image/extensions.h"

/* What is read of L1 tables of snapshots to see whether they are empty. */
#define L1_BYTES_MOST (UINT64_C(64) << 20)

/* L2 tables whose refcounts are looked up. */
#define TABLES_MOST 65536

/* Snapshots whose entries are looked at: QEMU has no more. */
#define SNAPSHOTS_MOST 65536

/* Problems that say of a table that its entries are not what they were. */
static const enum qcow2_problem_id broken_tables[] = {
	QCOW2_PROBLEM_L1_OFFSET_UNALIGNED,    QCOW2_PROBLEM_L1_BEYOND_END,
	QCOW2_PROBLEM_L1_TOO_SMALL,           QCOW2_PROBLEM_SNAPSHOTS_OFFSET,
	QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END,   QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET,
	QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END, QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL,
	QCOW2_PROBLEM_L1_ENTRY_RESERVED,      QCOW2_PROBLEM_L1_ENTRY_OFFSET_ZERO,
	QCOW2_PROBLEM_L2_TABLE_UNALIGNED,     QCOW2_PROBLEM_L2_TABLE_BEYOND_END,
	QCOW2_PROBLEM_L2_ENTRY_RESERVED,      QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG,
	QCOW2_PROBLEM_L2_ENTRY_OFFSET_ZERO,   QCOW2_PROBLEM_DATA_UNALIGNED,
	QCOW2_PROBLEM_DATA_BEYOND_END,        QCOW2_PROBLEM_COMPRESSED_COPIED,
	QCOW2_PROBLEM_COMPRESSED_OFFSET,      QCOW2_PROBLEM_COMPRESSED_BEYOND_END,
	QCOW2_PROBLEM_SUBCLUSTER_BOTH,        QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET,
	QCOW2_PROBLEM_SUBCLUSTER_COMPRESSED,
};

/*
 * Sets *lost to whether a snapshot has no L1 table at all: where its entry was, something else is,
 * such as zeros. A table that is broken has no entries behind the fault.
 */
static int find_lost_snapshot(const struct q2_check *check, bool *lost)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more = 1;

	*lost = false;
	if (check->header->size == 0 || check->header->nb_snapshots == 0)
		return 0;
	if (qcow2_snapshots_open(check->image, &snapshots, check->err))
		return q2_is_fault(check->err) ? -1 : 0;
	for (unsigned i = 0; !*lost && i < SNAPSHOTS_MOST; i++) {
		more = qcow2_snapshots_next(snapshots, &snapshot, check->err);
		if (more <= 0)
			break;
		*lost = snapshot->header.l1_table_offset == 0 || snapshot->header.l1_size == 0;
	}
	qcow2_snapshots_close(snapshots);
	return more < 0 && q2_is_fault(check->err) ? -1 : 0;
}

/*
 * Sets *broken to whether a table is broken, or leads to a cluster that another entry leads to, as
 * far as refcounts can tell.
 */
static int find_broken_tables(const struct q2_check *check, bool *broken)
{
	*broken = false;
	for (size_t i = 0; i < sizeof(broken_tables) / sizeof(broken_tables[0]); i++)
		*broken |= check->by_kind[broken_tables[i]] > 0;
	if (!*broken && find_lost_snapshot(check, broken))
		return -1;
	if (*broken || check->metadata.table_count == 0 ||
	    (check->presumed && check->presumed->are_owners_told))
		return 0;
	*broken = check->by_kind[QCOW2_PROBLEM_CLUSTER_OWNERS] > 0 || check->workers[0].misled;
	return 0;
}

static uint64_t count_empty_l2(const struct q2_check *check)
{
	uint64_t count = 0;

	for (size_t i = 0; i < check->metadata.table_count; i++)
		count += !check->metadata.tables[i].used;
	return count;
}

static void report_empty_l2(struct q2_check *check)
{
	for (size_t i = 0; i < check->metadata.table_count; i++) {
		const struct q2_l2_ref *ref = &check->metadata.tables[i];
		struct qcow2_claim claim = {.part = QCOW2_CLAIM_L2_TABLE, .index = ref->index};
		const struct q2_disk disk = q2_metadata_disk(&check->metadata, ref->list);
		char where[QCOW2_CLAIM_WHERE_MAX];

		if (ref->used)
			continue;
		q2_claim_set_list(&claim, ref->list);
		q2_report(&check->reporter,
			  &(struct q2_finding){
				  .id = QCOW2_PROBLEM_L2_TABLE_EMPTY,
				  .offset_bytes = ref->offset_bytes,
				  .disk = &disk,
				  .guest = q2_guest_l1(check->geometry, disk.size_bytes, ref->index,
						       1),
				  .shared_by = ref->weight,
			  },
			  "%s", qcow2_claim_where(&claim, where, sizeof(where)));
	}
}

/* Looks whether L1 tables are empty, and reports those that are. */
struct l1_look {
	struct q2_check *check;
	uint64_t left_bytes;
	bool report;
	bool used, any_empty;
};

static int note_word(void *opaque, uint64_t at, uint64_t word)
{
	struct l1_look *look = opaque;

	(void)at;
	(void)word;
	look->used = true;
	return 0;
}

/* An L1 table is empty only if it is all there. */
static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct l1_look *look = opaque;
	struct q2_metadata *metadata = &look->check->metadata;
	const struct q2_listener none = {0};
	uint64_t size = metadata->geometry->file_size_bytes;
	const struct q2_words words = {.start = claim->offset_bytes,
				       .end = claim->offset_bytes + claim->length_bytes,
				       .word = note_word,
				       .opaque = look};
	const struct q2_disk disk = q2_metadata_disk(metadata, q2_claim_list(claim));
	char where[QCOW2_CLAIM_WHERE_MAX];

	if (claim->part != QCOW2_CLAIM_L1_TABLE || claim->length_bytes == 0 ||
	    claim->offset_bytes >= size || claim->length_bytes > size - claim->offset_bytes ||
	    claim->length_bytes > look->left_bytes)
		return 0;
	look->left_bytes -= claim->length_bytes;
	look->used = false;
	if (q2_metadata_read_words(metadata, &none, &words))
		return -1;
	look->any_empty |= !look->used;
	if (!look->used && look->report)
		q2_report(&look->check->reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_L1_TABLE_EMPTY,
					       .offset_bytes = claim->offset_bytes,
					       .disk = &disk,
					       .guest = {0, disk.size_bytes}},
			  "%s", qcow2_claim_where(claim, where, sizeof(where)));
	return 0;
}

/* Finds L1 tables that map nothing. */
static int look_at_l1(struct q2_check *check, bool report, bool *any_empty)
{
	struct l1_look look = {.check = check, .left_bytes = L1_BYTES_MOST, .report = report};
	const struct q2_listener listener = {.opaque = &look, .claim = hear_claim};

	if (q2_metadata_visit_structures(&check->metadata, &listener))
		return -1;
	*any_empty = look.any_empty;
	return 0;
}

/*
 * Whether an L2 table has a larger refcount than L1 entries that lead to it: one of them is gone.
 */
static int has_lost_user(struct q2_check *check, struct q2_orphans *orphans, bool *lost)
{
	const struct q2_metadata *metadata = &check->metadata;

	*lost = false;
	for (size_t i = 0; i < metadata->table_count && i < TABLES_MOST && !*lost; i++)
		if (q2_l2_like_lacks(&orphans->like,
				     metadata->tables[i].offset_bytes >>
					     check->geometry->cluster_bits,
				     lost))
			return -1;
	return 0;
}

uint64_t q2_faults_of_refcounts(const uint64_t *by_kind)
{
	static const enum qcow2_problem_id kinds[] = {QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED,
						      QCOW2_PROBLEM_REFTABLE_MISSING,
						      QCOW2_PROBLEM_REFTABLE_BEYOND_END,
						      QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED,
						      QCOW2_PROBLEM_REFBLOCK_UNALIGNED,
						      QCOW2_PROBLEM_REFBLOCK_BEYOND_END,
						      QCOW2_PROBLEM_REFCOUNT_LOW,
						      QCOW2_PROBLEM_COPIED_SET,
						      QCOW2_PROBLEM_COPIED_CLEAR};
	uint64_t count = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		count += by_kind[kinds[i]];
	return count;
}

/* Corruptions. Where refcounts are lost, they are not among them: something else is asked then. */
static uint64_t count_faults(const struct q2_check *check)
{
	return check->result->corruptions - check->by_kind[QCOW2_PROBLEM_FEATURE_CORRUPT] -
	       (check->presumed ? q2_faults_of_refcounts(check->by_kind) : 0);
}

/*
 * An L1 table may be empty because nothing was ever written. Then leaks have another reason: the
 * image has other faults, or bitmaps that nobody can find. The corrupt bit is no reason.
 */
static bool is_unexplained(const struct q2_check *check)
{
	struct qcow2_extension extension;

	return count_faults(check) == 0 &&
	       ((check->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) ||
		!q2_find_extension(check->image, QCOW2_EXTENSION_BITMAPS, &extension));
}

static void report_orphans(struct q2_check *check, const struct q2_orphans *orphans)
{
	for (size_t i = 0; i < orphans->count; i++) {
		const struct q2_orphan *orphan = &orphans->items[i];
		uint64_t per_block = check->geometry->refcount_block_entries;

		check->result->orphan_tables += orphan->leaked;
		q2_report(&check->reporter,
			  &(struct q2_finding){
				  .id = orphan->leaked ? QCOW2_PROBLEM_L2_TABLE_ORPHANED
						       : QCOW2_PROBLEM_L2_TABLE_FREED,
				  .offset_bytes = orphan->refcount_offset_bytes,
				  .has_cluster = true,
				  .cluster_offset_bytes = orphan->cluster
							  << check->geometry->cluster_bits,
			  },
			  "refcounts/%" PRIu64 "/%" PRIu64, orphan->cluster / per_block,
			  orphan->cluster % per_block);
	}
}

/* Whether leaks may be data, from what was found in them and in the tables. */
static int judge(struct q2_check *check, struct q2_orphans *orphans)
{
	struct qcow2_check_result *result = check->result;
	bool l1_empty = false, l2_lost = false, broken = false;

	if (orphans->with_content > 0 && find_broken_tables(check, &broken))
		return -1;
	result->empty_tables = count_empty_l2(check);
	result->leaks_may_be_data =
		result->orphan_tables > 0 || check->by_kind[QCOW2_PROBLEM_L2_ENTRIES_EMPTY] > 0 ||
		(orphans->with_content > 0 && (result->empty_tables > 0 || broken));
	if (look_at_l1(check, false, &l1_empty))
		return -1;
	if (l1_empty && has_lost_user(check, orphans, &l2_lost))
		return -1;
	if (l1_empty && is_unexplained(check))
		result->leaks_may_be_data |= orphans->with_content > 0 || l2_lost;
	if (!result->leaks_may_be_data)
		return 0;
	if (orphans->with_content > 0)
		report_empty_l2(check);
	return l1_empty ? look_at_l1(check, true, &l1_empty) : 0;
}

int q2_check_lost(struct q2_check *check)
{
	struct qcow2_check_result *result = check->result;
	struct q2_orphans orphans = {.check = check};
	bool leaks = check->by_kind[QCOW2_PROBLEM_REFCOUNT_HIGH] > 0 || check->presumed;
	bool all = true;
	int failed = 0;

	result->leaks_all_read = true;
	if (!check->options->lost_mappings || check->stopped || (!leaks && !check->options->deep))
		return 0;
	failed = q2_orphans_find(&orphans);
	if (!failed) {
		report_orphans(check, &orphans);
		result->leaks_all_read = !orphans.stopped;
		result->leaks_with_content = orphans.with_content;
	}
	if (!failed && leaks) {
		failed = q2_holes_find(check, &orphans, &all);
		result->leaks_all_read &= all && !orphans.content.failed;
	}
	if (!failed && leaks)
		failed = judge(check, &orphans);
	q2_orphans_release(&orphans);
	return failed;
}
