/* SPDX-License-Identifier: MIT */
/*
 * Fields of the header on which all tables depend. Each value that is possible is tried on a plan
 * of its own, and the check says how many faults the image would have: tables that agree with each
 * other do so with one value only.
 */
#include "repair/header/header.h"

#include "base/checked.h"

#include <qcow2/limits.h>

/* One field with another value. */
struct guess {
	uint64_t at, value;
	unsigned size;
	const char *where, *does;
};

/* How well a guess explains what is there. */
struct score {
	bool readable;
	uint64_t corruptions, leaks;
	uint64_t data_file_offsets;
};

/*
 * Ends a check at the first corruption: guesses that have one are not looked at further. The corrupt
 * bit is none here: a repair that was interrupted leaves it, and no guess can clear it.
 */
static int hear_corruption(void *opaque, const struct qcow2_problem *problem)
{
	struct score *score = opaque;

	score->corruptions += problem->kind->severity == QCOW2_CORRUPTION &&
			      problem->kind->number != QCOW2_PROBLEM_FEATURE_CORRUPT;
	return score->corruptions > 0;
}

/* sound: the score says no more of images with corruptions than that they have some. */
static int check_scratch(struct q2_repair *repair, struct qcow2_plan *scratch, bool sound,
			 struct score *score)
{
	const struct qcow2_check_options how = {.threads = repair->options->threads,
						.memory_limit_bytes =
							repair->options->memory_limit_bytes,
						.clusters_untold = sound,
						.problem = sound ? hear_corruption : NULL,
						.opaque = score};
	struct qcow2_source *view = NULL;
	struct qcow2_image *image = NULL;
	struct q2_check_totals totals;
	int failed = qcow2_plan_view(scratch, &view, repair->err) ||
		     qcow2_image_open(view, &image, repair->err);

	if (!failed && qcow2_image_geometry(image)) {
		failed = q2_check(image, &how, &totals, repair->err);
		if (!failed)
			*score = (struct score){
				totals.sum.clusters_checked,
				totals.sum.corruptions -
					totals.by_kind[QCOW2_PROBLEM_FEATURE_CORRUPT],
				totals.sum.leaks, totals.by_kind[QCOW2_PROBLEM_DATA_FILE_OFFSET]};
		else if (score->corruptions > 0 && repair->err->code == QCOW2_ERROR_STOPPED)
			failed = 0;
	}
	qcow2_image_close(image);
	qcow2_source_close(view);
	return failed ? -1 : 0;
}

/* sound: as check_scratch(). */
static int try_guess(struct q2_repair *repair, const struct guess *guess, bool sound,
		     struct score *score)
{
	struct qcow2_source *view = NULL;
	struct qcow2_plan *scratch = NULL;
	uint8_t bytes[8];
	int failed;

	*score = (struct score){false, 0, 0, 0};
	for (unsigned i = 0; i < guess->size; i++)
		bytes[i] = (uint8_t)(guess->value >> (8 * (guess->size - 1 - i)));
	failed = qcow2_plan_view(repair->plan, &view, repair->err) ||
		 qcow2_plan_open(view, &scratch, repair->err) ||
		 qcow2_plan_write(scratch, QCOW2_PHASE_POINT, guess->at,
				  (struct qcow2_bytes){bytes, guess->size}, "a guess",
				  repair->err) ||
		 check_scratch(repair, scratch, sound, score);
	qcow2_plan_close(scratch);
	qcow2_source_close(view);
	return failed ? -1 : 0;
}

/* reads: what guests read before; QCOW2_READS_SAME if the field does not matter to them. */
static int take_guess(struct q2_repair *repair, const struct guess *guess, enum qcow2_problem_id id,
		      enum qcow2_reads reads)
{
	enum qcow2_phase phase = guess->at == Q2_HEADER_AT(incompatible_features)
					 ? QCOW2_PHASE_CLEAN
					 : QCOW2_PHASE_POINT;

	if (q2_repair_write_number(repair, phase, guess->at, guess->value, guess->size,
				   "the value with which the tables agree"))
		return -1;
	return reads == QCOW2_READS_SAME
		       ? q2_head_tell(repair, id, guess->where, guess->does, false)
		       : q2_head_tell_reads(repair, id, guess->where, guess->does, reads);
}

/* ---- refcount_order ---- */

/* Refcounts are counted anew in any case: the width with which they agree best is right. */
int q2_header_mend_refcount_order(struct q2_repair *repair)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_HEADER_REFCOUNT_ORDER;
	struct guess guess = {Q2_HEADER_AT(refcount_order), 4, 4, "header/refcount_order",
			      "sets the width of refcounts to that with which they agree best"};
	struct score best, score;
	uint64_t order = 4;

	if (!q2_has(repair, id) || repair->header->cluster_bits > QCOW2_LIMIT_CLUSTER_BITS_MAX ||
	    repair->header->cluster_bits < QCOW2_LIMIT_CLUSTER_BITS_MIN ||
	    !q2_repair_may(repair, id, false))
		return 0;
	if (try_guess(repair, &guess, false, &best))
		return -1;
	for (guess.value = 0; guess.value <= QCOW2_LIMIT_REFCOUNT_ORDER_MAX; guess.value++) {
		if (try_guess(repair, &guess, false, &score))
			return -1;
		if (score.readable && (!best.readable || score.corruptions + score.leaks <
								 best.corruptions + best.leaks)) {
			best = score;
			order = guess.value;
		}
	}
	guess.value = order;
	return take_guess(repair, &guess, id, QCOW2_READS_SAME);
}

/* ---- the external data file bit ---- */

static int drop_name(struct q2_repair *repair, bool costs)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_DATA_FILE_WITHOUT_BIT;

	if (!q2_repair_may(repair, id, costs))
		return 0;
	return qcow2_edit_extension(repair->plan, QCOW2_EXTENSION_REMOVE, QCOW2_EXTENSION_DATA_FILE,
				    (struct qcow2_bytes){NULL, 0}, repair->err) ||
			       q2_head_tell(repair, id, "extensions",
					    "removes the name of a data file: the image keeps its "
					    "data itself",
					    costs)
		       ? -1
		       : 0;
}

/*
 * In a data file each cluster lies at its guest offset. An image whose entries all say so, and that
 * is sound with the bit, has lost it; one whose entries say otherwise has its data itself.
 */
int q2_header_mend_data_file(struct q2_repair *repair)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_DATA_FILE_WITHOUT_BIT;
	struct guess guess = {Q2_HEADER_AT(incompatible_features),
			      repair->header->incompatible_features | QCOW2_INCOMPATIBLE_DATA_FILE,
			      8, "header/incompatible_features",
			      "sets the external data file bit: the tables map a data file"};
	uint64_t before = repair->found->sum.corruptions + repair->found->sum.leaks;
	struct score score;

	if (!q2_has(repair, id) || !repair->geometry || repair->header->version < 3)
		return 0;
	if (try_guess(repair, &guess, false, &score))
		return -1;
	/* Besides what the bit itself mends, which are this problem and that of the raw bit. */
	before -= q2_has(repair, QCOW2_PROBLEM_FEATURE_RAW_WITHOUT_DATA_FILE);
	before -= q2_has(repair, QCOW2_PROBLEM_FEATURE_CORRUPT);
	if (score.readable && score.data_file_offsets == 0 &&
	    score.corruptions + score.leaks + 1 < before)
		return !q2_repair_may(repair, id, false)
			       ? 0
			       : take_guess(repair, &guess, id, QCOW2_READS_FOREIGN);
	q2_repair_leave(repair, id,
			"nothing is mapped that would tell where the data are: if the image keeps "
			"them itself, the name is of no use");
	return drop_name(repair, score.data_file_offsets == 0);
}

/* ---- what gives all other numbers their meaning ---- */

/* Guesses that are tried, and the only one so far with which the image has no corruption. */
struct contest {
	struct guess best;
	struct score score;
	enum qcow2_problem_id id;
	enum qcow2_reads reads;
	unsigned best_count; /* of guesses that are as good as the best */
};

static bool has_any(const struct q2_repair *repair, const enum qcow2_problem_id *kinds,
		    size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (q2_has(repair, kinds[i]))
			return true;
	return false;
}

static int enter(struct q2_repair *repair, struct contest *contest, const struct guess *guess,
		 enum qcow2_problem_id id, enum qcow2_reads reads)
{
	struct score score;

	if (try_guess(repair, guess, true, &score))
		return -1;
	/* More leaks than now: the guess hides what the tables map, and agrees with less. */
	if (repair->found->sum.clusters_checked && score.leaks > repair->found->sum.leaks)
		return 0;
	if (!score.readable || score.corruptions > 0 ||
	    (contest->best_count > 0 && score.leaks > contest->score.leaks))
		return 0;
	if (contest->best_count > 0 && score.leaks == contest->score.leaks) {
		contest->best_count++;
		return 0;
	}
	*contest = (struct contest){*guess, score, id, reads, 1};
	return 0;
}

/* Whether refcounts are wrong and all tables would lie at boundaries of larger clusters, too. */
static bool seem_larger(const struct q2_repair *repair)
{
	const struct qcow2_header *h = repair->header;
	uint64_t places = h->l1_table_offset | h->refcount_table_offset | h->snapshot_offset;

	return repair->geometry && q2_has(repair, QCOW2_PROBLEM_REFCOUNT_LOW) &&
	       places % (2 * repair->geometry->cluster_size_bytes) == 0;
}

/* Clusters of any size that QEMU knows. */
static int enter_cluster_bits(struct q2_repair *repair, struct contest *contest)
{
	static const enum qcow2_problem_id kinds[] = {
		QCOW2_PROBLEM_HEADER_CLUSTER_BITS, QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED,
		QCOW2_PROBLEM_L1_OFFSET_UNALIGNED, QCOW2_PROBLEM_REFTABLE_OFFSET_UNALIGNED,
		QCOW2_PROBLEM_REFBLOCK_UNALIGNED,  QCOW2_PROBLEM_L1_TOO_SMALL};
	struct guess guess = {Q2_HEADER_AT(cluster_bits), QCOW2_LIMIT_CLUSTER_BITS_MIN, 4,
			      "header/cluster_bits",
			      "sets the cluster size to the only one with which the tables agree"};

	if (!has_any(repair, kinds, sizeof(kinds) / sizeof(kinds[0])) && !seem_larger(repair))
		return 0;
	for (; guess.value <= QCOW2_LIMIT_QEMU_CLUSTER_BITS; guess.value++)
		if (guess.value != repair->header->cluster_bits &&
		    enter(repair, contest, &guess, QCOW2_PROBLEM_HEADER_CLUSTER_BITS,
			  QCOW2_READS_FOREIGN))
			return -1;
	return 0;
}

/* L2 entries of the other width. */
static int enter_extended(struct q2_repair *repair, struct contest *contest)
{
	static const enum qcow2_problem_id kinds[] = {QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED,
						      QCOW2_PROBLEM_L2_ENTRY_RESERVED,
						      QCOW2_PROBLEM_L1_TOO_SMALL,
						      QCOW2_PROBLEM_DATA_UNALIGNED,
						      QCOW2_PROBLEM_SUBCLUSTER_BOTH,
						      QCOW2_PROBLEM_SUBCLUSTER_WITHOUT_OFFSET,
						      QCOW2_PROBLEM_CLUSTER_OWNERS};
	const struct guess guess = {
		Q2_HEADER_AT(incompatible_features),
		repair->header->incompatible_features ^ QCOW2_INCOMPATIBLE_EXTENDED_L2, 8,
		"header/incompatible_features",
		"sets the extended L2 bit to the only value with which the tables agree"};

	if (!has_any(repair, kinds, sizeof(kinds) / sizeof(kinds[0])))
		return 0;
	return enter(repair, contest, &guess, QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED,
		     QCOW2_READS_FOREIGN);
}

/* An image that keeps its data itself. */
static int enter_data_file(struct q2_repair *repair, struct contest *contest)
{
	const struct guess guess = {
		Q2_HEADER_AT(incompatible_features),
		repair->header->incompatible_features & ~QCOW2_INCOMPATIBLE_DATA_FILE, 8,
		"header/incompatible_features",
		"clears the external data file bit: the tables map the image itself"};

	if (!q2_has(repair, QCOW2_PROBLEM_DATA_FILE_OFFSET) ||
	    !q2_has(repair, QCOW2_PROBLEM_DATA_FILE_NAME_MISSING))
		return 0;
	return enter(repair, contest, &guess, QCOW2_PROBLEM_DATA_FILE_NAME_MISSING,
		     QCOW2_READS_FOREIGN);
}

/* An L1 table that is as long as the disk needs it. */
static int enter_l1_size(struct q2_repair *repair, struct contest *contest)
{
	struct guess guess = {
		Q2_HEADER_AT(l1_size), 0, 4, "header/l1_size",
		"makes the L1 table as long as the disk needs it: with that alone the "
		"tables agree"};

	if (!repair->geometry || (!q2_has(repair, QCOW2_PROBLEM_L1_BEYOND_END) &&
				  !q2_has(repair, QCOW2_PROBLEM_L1_TOO_LARGE)))
		return 0;
	guess.value = repair->geometry->l1_entries_needed;
	if (guess.value >= repair->header->l1_size)
		return 0;
	return enter(repair, contest, &guess, QCOW2_PROBLEM_L1_BEYOND_END, QCOW2_READS_SAME);
}

/*
 * A size that the L1 table can map, for which programs make just such a table: without the bits
 * above what the table maps.
 */
static int enter_size(struct q2_repair *repair, struct contest *contest)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	const struct qcow2_header *h = repair->header;
	struct guess guess = {Q2_HEADER_AT(size), 0, 8, "header/size",
			      "takes away what of the virtual size the L1 table does not map: with "
			      "that alone the tables agree"};
	uint64_t span, most = 1;

	if (!geometry || !q2_has(repair, QCOW2_PROBLEM_L1_TOO_SMALL) ||
	    repair->found->sum.leaks > 0)
		return 0;
	span = geometry->l2_entries << geometry->cluster_bits;
	while (most < h->size && most / span < h->l1_size)
		most *= 2;
	guess.value = h->size & (most - 1);
	if (guess.value == 0 || guess.value % 512 != 0 ||
	    q2_div_ceil_u64(guess.value, span) != h->l1_size)
		return 0;
	return enter(repair, contest, &guess, QCOW2_PROBLEM_L1_TOO_SMALL, QCOW2_READS_ERROR);
}

/* No snapshots, where their table would be the header. */
static int enter_no_snapshots(struct q2_repair *repair, struct contest *contest)
{
	const struct guess guess = {Q2_HEADER_AT(nb_snapshots), 0, 4, "header/nb_snapshots",
				    "sets the number of snapshots to 0: they have no table, and "
				    "nothing is left over"};

	if (!q2_has(repair, QCOW2_PROBLEM_SNAPSHOTS_OFFSET) ||
	    repair->header->snapshot_offset != 0 || repair->found->sum.leaks > 0)
		return 0;
	return enter(repair, contest, &guess, QCOW2_PROBLEM_SNAPSHOTS_OFFSET, QCOW2_READS_SAME);
}

/* A header of version 2 that claims to be of version 3, which would have a length and a width. */
static int enter_version(struct q2_repair *repair, struct contest *contest)
{
	const struct qcow2_header *h = repair->header;
	const struct guess guess = {Q2_HEADER_AT(version), 2, 4, "header/version",
				    "sets the version to 2: the header has no fields of version 3"};

	if (!q2_has(repair, QCOW2_PROBLEM_HEADER_LENGTH) || h->header_length != 0 ||
	    h->refcount_order != 0 ||
	    (h->incompatible_features | h->compatible_features | h->autoclear_features) != 0)
		return 0;
	return enter(repair, contest, &guess, QCOW2_PROBLEM_HEADER_LENGTH, QCOW2_READS_SAME);
}

int q2_header_mend_geometry(struct q2_repair *repair)
{
	struct contest contest = {.best_count = 0};

	/* Rounds between see what is half mended, and would ask in vain. */
	if (repair->round > 0 && !repair->is_settled)
		return 0;
	if (enter_cluster_bits(repair, &contest) || enter_l1_size(repair, &contest) ||
	    enter_size(repair, &contest) || enter_no_snapshots(repair, &contest) ||
	    (repair->header->version >= 3 &&
	     (enter_extended(repair, &contest) || enter_data_file(repair, &contest) ||
	      enter_version(repair, &contest))))
		return -1;
	if (contest.best_count != 1 || !q2_repair_may(repair, contest.id, false))
		return 0;
	/* The guards would miss the snapshots that there seemed to be. */
	if (contest.best.at == Q2_HEADER_AT(nb_snapshots) &&
	    qcow2_plan_intend(repair->plan, QCOW2_INTENT_SNAPSHOT_GONE,
			      (struct qcow2_bytes){NULL, 0}, repair->err))
		return -1;
	return take_guess(repair, &contest.best, contest.id, contest.reads);
}
