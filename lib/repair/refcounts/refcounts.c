/* SPDX-License-Identifier: MIT */
/* Drives the stages of refcounts.h, and tells what they did. */
#include "repair/refcounts/refcounts.h"
#include "repair/result.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/extension.h>
#include <qcow2/problem.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/extensions.h"

/* The most bytes of a block that are compared at once: a cluster, if QEMU opens such clusters. */
#define PIECE_MOST_BYTES ((size_t)2 << 20)

/* A number with commas: 1,234. */
static const char *number(uint64_t value, char *text, size_t size)
{
	char digits[24];
	size_t count = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, value), to = 0;

	for (size_t i = 0; i < count && to + 2 < size; i++) {
		if (i > 0 && (count - i) % 3 == 0)
			text[to++] = ',';
		text[to++] = digits[i];
	}
	text[to] = '\0';
	return text;
}

/* What is done, in the order in which it is told: of one, and of several. */
static const struct {
	enum qcow2_problem_id id;
	const char *one, *several; /* with %s for the number */
} doings[] = {
	{QCOW2_PROBLEM_REFTABLE_MISSING, "makes a new refcount table", NULL},
	{QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED, "makes a new refcount table", NULL},
	{QCOW2_PROBLEM_REFTABLE_BEYOND_END, "makes a new refcount table", NULL},
	{QCOW2_PROBLEM_REFTABLE_TOO_LARGE, "makes the refcount table shorter", NULL},
	{QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED, "clears reserved bits of a refcount table entry",
	 "clears reserved bits of %s refcount table entries"},
	{QCOW2_PROBLEM_REFBLOCK_UNALIGNED,
	 "makes a new refcount block in place of one that is not "
	 "at a cluster",
	 "makes new refcount blocks in place of %s that are not at a cluster"},
	{QCOW2_PROBLEM_REFBLOCK_BEYOND_END,
	 "makes a new refcount block in place of one behind the end of the file",
	 "makes new refcount blocks in place of %s behind the end of the file"},
	{QCOW2_PROBLEM_CLUSTER_OWNERS,
	 "moves refcounts out of a cluster that is used for something else",
	 "moves refcounts out of %s clusters that are used for something else"},
	{QCOW2_PROBLEM_REFCOUNT_LOW,
	 "counts a cluster anew that is used more often than its "
	 "refcount says",
	 "counts %s clusters anew that are used more often than their refcounts say"},
	{QCOW2_PROBLEM_REFCOUNT_HIGH,
	 "counts a cluster anew that is used less often than its "
	 "refcount says",
	 "counts %s clusters anew that are used less often than their refcounts say"},
	{QCOW2_PROBLEM_REFCOUNT_BEYOND_END,
	 "clears the refcount of a cluster past the end of the "
	 "file",
	 "clears the refcounts of %s clusters past the end of the file"},
	{QCOW2_PROBLEM_COPIED_SET, "clears the copied flag of an entry",
	 "clears the copied flags of %s entries"},
	{QCOW2_PROBLEM_COPIED_CLEAR, "sets the copied flag of an entry",
	 "sets the copied flags of %s entries"},
	{QCOW2_PROBLEM_COMPRESSED_COPIED, "clears the copied flag of a compressed cluster",
	 "clears the copied flags of %s compressed clusters"},
};

/* The path of the first place, as the check spells it. */
static void put_where(const struct q2_recount *r, enum qcow2_problem_id id, uint64_t first,
		      char *where, size_t size)
{
	switch (id) {
	case QCOW2_PROBLEM_REFTABLE_MISSING:
	case QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED:
	case QCOW2_PROBLEM_REFTABLE_BEYOND_END:
		snprintf(where, size, "header/refcount_table_offset");
		break;
	case QCOW2_PROBLEM_REFTABLE_TOO_LARGE:
		snprintf(where, size, "header/refcount_table_clusters");
		break;
	case QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED:
	case QCOW2_PROBLEM_REFBLOCK_UNALIGNED:
	case QCOW2_PROBLEM_REFBLOCK_BEYOND_END:
	case QCOW2_PROBLEM_CLUSTER_OWNERS:
		snprintf(where, size, "refcount_table/%" PRIu64, first);
		break;
	default:
		snprintf(where, size, "refcounts/%" PRIu64 "/%" PRIu64, first / r->per_block,
			 first % r->per_block);
	}
}

static int tell(struct q2_recount *r)
{
	for (size_t i = 0; i < sizeof(doings) / sizeof(doings[0]); i++) {
		const struct q2_mended *mended = &r->mended[doings[i].id];
		struct qcow2_repair_step step = {.kind = qcow2_problem_kind_get(doings[i].id),
						 .count = mended->count};
		char does[160], digits[32];

		if (mended->count == 0)
			continue;
		put_where(r, doings[i].id, mended->first, step.where, sizeof(step.where));
		if (mended->count == 1 || !doings[i].several)
			snprintf(does, sizeof(does), "%s", doings[i].one);
		else
			snprintf(does, sizeof(does), doings[i].several,
				 number(mended->count, digits, sizeof(digits)));
		step.does = does;
		if (q2_repair_tell(r->repair, &step))
			return -1;
	}
	return 0;
}

/* What is counted although nothing refers to it: not a refcount that was too low. */
static int tell_spared(struct q2_recount *r)
{
	struct q2_mended *low = &r->mended[QCOW2_PROBLEM_REFCOUNT_LOW];
	struct qcow2_repair_step step = {.kind = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_LOW),
					 .count = r->spared};
	char does[160], digits[32];

	if (r->spared == 0)
		return 0;
	low->count -= r->spared < low->count ? r->spared : low->count;
	put_where(r, QCOW2_PROBLEM_REFCOUNT_LOW, r->spared_first, step.where, sizeof(step.where));
	snprintf(does, sizeof(does),
		 "counts %s cluster%s as leaked whose refcounts are lost: lost data of the guest "
		 "may be there",
		 number(r->spared, digits, sizeof(digits)), r->spared == 1 ? "" : "s");
	step.does = does;
	return q2_repair_tell(r->repair, &step);
}

/* How many corruptions of bitmaps a check has found. */
static uint64_t bad_bitmaps(const struct q2_check_totals *totals)
{
	const struct qcow2_problem_kind *kind = NULL;
	uint64_t count = 0;

	while ((kind = qcow2_problem_kind_next(kind)))
		if (kind->severity == QCOW2_CORRUPTION && strncmp(kind->id, "bitmap", 6) == 0)
			count += totals->by_kind[kind->number];
	return count;
}

/* Leaks may be what bitmaps had that are damaged: by default nothing is given up. */
static void spare_bitmaps(struct q2_recount *r)
{
	struct q2_repair *repair = r->repair;

	if (!r->may_lower || repair->options->extent != QCOW2_REPAIR_LOSSLESS ||
	    repair->options->only_count > 0 || repair->options->free_lost ||
	    repair->found->sum.leaks_with_content == 0 ||
	    (bad_bitmaps(repair->found) == 0 &&
	     repair->found->by_kind[QCOW2_PROBLEM_BITMAPS_INCONSISTENT] == 0))
		return;
	r->keeps_leaks = true;
	q2_repair_leave(repair, QCOW2_PROBLEM_REFCOUNT_HIGH,
			"leaked clusters may be of bitmaps that are damaged, or stale");
	repair->why[QCOW2_PROBLEM_REFCOUNT_HIGH].wants_all = true;
}

/*
 * Whether what leaks was left by bitmaps that this repair drops. Their tables read much as L2 tables
 * do, and the check knows that only while the image says that it has bitmaps.
 */
static bool were_bitmaps(const struct q2_repair *repair)
{
	const struct q2_check_totals *before = &repair->result->before;
	struct qcow2_extension extension;

	return !before->sum.leaks_may_be_data && before->sum.clusters_checked &&
	       before->sum.leaks > 0 && bad_bitmaps(before) > 0 && !repair->gave_up &&
	       !q2_find_extension(repair->image, QCOW2_EXTENSION_BITMAPS, &extension);
}

/*
 * Leaks may be the guest's data whose mapping is lost, as the image still is, or as it was and
 * nobody can tell any more, since entries were given up or snapshots dropped. What an entry led to
 * that was given up leaks only since. A snapshot that is dropped gives up nothing that is lost.
 */
static bool may_be_lost_data(const struct q2_repair *repair)
{
	const struct qcow2_check_result *found = &repair->found->sum;

	return repair->spared || (found->leaks_may_be_data && !were_bitmaps(repair)) ||
	       (repair->result->before.sum.leaks_may_be_data && repair->dropped.count > 0) ||
	       (repair->gave_up && (found->leaks_with_content > 0 || !found->leaks_all_read));
}

/* Finds out which refcounts may be mended. */
static void find_rights(struct q2_recount *r)
{
	struct q2_repair *repair = r->repair;
	bool spares = !repair->options->free_lost && may_be_lost_data(repair);

	r->spares = spares;
	r->has_taken = q2_space_taken_count(repair) > 0;
	r->may_raise = q2_repair_may(repair, QCOW2_PROBLEM_REFCOUNT_LOW, false);
	r->may_lower = q2_repair_may(repair, QCOW2_PROBLEM_REFCOUNT_HIGH, false);
	r->may_beyond = q2_repair_may(repair, QCOW2_PROBLEM_REFCOUNT_BEYOND_END, false);
	if (r->may_lower && (spares || r->counted->are_cut)) {
		r->may_lower = false;
		q2_repair_leave(repair, QCOW2_PROBLEM_REFCOUNT_HIGH,
				spares ? "leaked clusters may be lost data of the guest"
				       : "the image claims more clusters than could be counted");
		repair->why[QCOW2_PROBLEM_REFCOUNT_HIGH].wants_free_lost = spares;
	}
	spare_bitmaps(r);
	/* Such refcounts tell how long a file was that is cut. */
	if (spares || repair->result->before.sum.file_cut) {
		r->may_beyond = false;
		q2_repair_leave(repair, QCOW2_PROBLEM_REFCOUNT_BEYOND_END,
				"they tell how long the file was");
	}
	r->restricted =
		!r->may_raise || !r->may_lower || r->keeps_leaks || repair->options->only_count > 0;
}

static int start(struct q2_recount *r)
{
	struct q2_repair *repair = r->repair;
	const struct qcow2_geometry *geometry = repair->geometry;

	r->counted = repair->counted;
	r->clusters = &r->counted->clusters;
	r->cluster_size = geometry->cluster_size_bytes;
	r->cluster_bits = geometry->cluster_bits;
	r->width = geometry->refcount_bits;
	r->per_block = geometry->refcount_block_entries;
	r->most = UINT64_MAX >> (64 - r->width);
	r->old_clusters = (repair->plan->old_size_bytes + r->cluster_size - 1) >> r->cluster_bits;
	r->changed.memory = &r->counted->memory;
	r->piece_bytes =
		r->cluster_size < PIECE_MOST_BYTES ? (size_t)r->cluster_size : PIECE_MOST_BYTES;
	r->old_bytes = q2_alloc_buffer(r->piece_bytes);
	r->new_bytes = q2_alloc_buffer(r->piece_bytes);
	if (!r->old_bytes || !r->new_bytes)
		return q2_fail_memory(repair->err);
	return 0;
}

/*
 * Whether refcounts lie where a bitmap's table claims to be that passes the end of the file. Then
 * they are themselves what they count, and other refcounts make other references.
 */
static bool are_claimed_by_bitmap(const struct q2_recount *r)
{
	if (r->repair->found->by_kind[QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END] == 0)
		return false;
	for (uint64_t i = 0; i < r->entries_end; i++)
		if (r->entries[i].fault == QCOW2_PROBLEM_CLUSTER_OWNERS)
			return true;
	return r->table_fault == QCOW2_PROBLEM_CLUSTER_OWNERS;
}

static int leave(struct q2_repair *repair, const char *why)
{
	static const enum qcow2_problem_id kinds[] = {
		QCOW2_PROBLEM_REFCOUNT_LOW, QCOW2_PROBLEM_REFCOUNT_HIGH,
		QCOW2_PROBLEM_CLUSTER_OWNERS, QCOW2_PROBLEM_COPIED_SET, QCOW2_PROBLEM_COPIED_CLEAR};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		q2_repair_leave(repair, kinds[i], "%s", why);
	return 0;
}

static int run(struct q2_recount *r)
{
	struct q2_repair *repair = r->repair;
	bool possible;

	if (start(r))
		return -1;
	find_rights(r);
	if (q2_recount_read_table(r))
		return -1;
	if (are_claimed_by_bitmap(r))
		return leave(repair, "a bitmap's table claims the place of refcounts: it has to be "
				     "mended first");
	if (r->table_fault && !q2_recount_may(r, r->table_fault))
		return 0;
	q2_recount_settle(r);
	if (q2_recount_spare_lost(r) || q2_recount_restrict(r) || q2_recount_complete(r, &possible))
		return -1;
	if (!possible)
		return 0;
	if (r->table_clusters < repair->header->refcount_table_clusters && !r->table_moves)
		q2_recount_note(r, QCOW2_PROBLEM_REFTABLE_TOO_LARGE, 0);
	if (q2_recount_plan_blocks(r) || q2_recount_plan_table(r) || q2_recount_plan_flags(r))
		return -1;
	if (r->mended[QCOW2_PROBLEM_REFCOUNT_OVERFLOW].count > 0 &&
	    repair->why[QCOW2_PROBLEM_REFCOUNT_OVERFLOW].text[0] == '\0')
		q2_repair_leave(repair, QCOW2_PROBLEM_REFCOUNT_OVERFLOW,
				"a refcount of %u bits cannot say more than %" PRIu64, r->width,
				r->most);
	return tell_spared(r) || tell(r) ? -1 : 0;
}

int q2_repair_refcounts(struct q2_repair *repair)
{
	struct q2_recount r = {.repair = repair};
	int failed;

	if (!repair->counted)
		return 0;
	if (repair->is_header_claimed)
		return leave(repair, "a table of snapshots claims the place of the header: it has "
				     "to be mended first");
	failed = run(&r);
	q2_bits_release(&r.changed);
	q2_free(r.entries);
	q2_free(r.old_bytes);
	q2_free(r.new_bytes);
	return failed;
}
