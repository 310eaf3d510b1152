/* SPDX-License-Identifier: MIT */
/* Drives a repair, round by round: see repair.h. */
#include "repair/repair.h"

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"
#include "plan/digests.h"
#include "repair/proof.h"
#include "repair/result.h"

/* Each round mends something that hid something else; good images of bad luck need three or four. */
#define ROUNDS_MOST 16
/* Snapshots that may be dropped: all that a header can count. */
#define SNAPSHOTS_MOST ((size_t)UINT32_MAX)
/* Runs of clusters that bitmaps may take. */
#define BITMAP_RUNS_MOST ((size_t)1 << 20)

static const struct q2_doctor *const doctors[Q2_DOCTORS] = {
	[Q2_DOCTOR_HEADER] = &q2_doctor_header, [Q2_DOCTOR_SNAPSHOTS] = &q2_doctor_snapshots,
	[Q2_DOCTOR_OWNERS] = &q2_doctor_owners, [Q2_DOCTOR_L1] = &q2_doctor_l1,
	[Q2_DOCTOR_L2] = &q2_doctor_l2,         [Q2_DOCTOR_BITMAPS] = &q2_doctor_bitmaps,
};

static void close_image(struct q2_repair *repair)
{
	qcow2_image_close(repair->image);
	qcow2_source_close(repair->view);
	repair->image = NULL;
	repair->view = NULL;
	repair->header = NULL;
	repair->geometry = NULL;
}

static int open_image(struct q2_repair *repair)
{
	close_image(repair);
	if (qcow2_plan_view(repair->plan, &repair->view, repair->err) ||
	    qcow2_image_open(repair->view, &repair->image, repair->err))
		return -1;
	repair->header = qcow2_image_header(repair->image);
	repair->geometry = qcow2_image_geometry(repair->image);
	if (repair->header->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN)
		return q2_fail(repair->err, QCOW2_ERROR_UNSUPPORTED,
			       offsetof(struct qcow2_header, incompatible_features),
			       "the image has incompatible features that are not known here: what "
			       "a repair would do to them, nobody knows");
	return 0;
}

/*
 * Whether the active L1 table is longer than any program reads, passes the end of the file, and the
 * disk asks for that. It then runs over all that lies behind it, so that whatever is mended there
 * would be something else to the guest.
 */
static bool has_impossible_l1(const struct q2_repair *repair)
{
	const struct qcow2_header *header = repair->header;
	uint64_t span, bytes = (uint64_t)header->l1_size * sizeof(uint64_t);

	if (!repair->geometry || header->l1_size <= QCOW2_LIMIT_QEMU_L1_ENTRIES ||
	    q2_range_fits(header->l1_table_offset, bytes, repair->geometry->file_size_bytes))
		return false;
	span = repair->geometry->l2_entries << repair->geometry->cluster_bits;
	return header->size / span >= QCOW2_LIMIT_QEMU_L1_ENTRIES;
}

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_repair *repair = opaque;

	for (unsigned i = 0; i < Q2_DOCTORS && !repair->failed; i++)
		if (doctors[i]->hear)
			doctors[i]->hear(repair, problem);
	return repair->failed;
}

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	const struct q2_repair *repair = opaque;

	return repair->options->progress(repair->options->opaque, done_bytes, total_bytes);
}

/* Whether compressed clusters are inflated: it reads all of them, so somebody has to ask for it. */
static bool is_deep(const struct qcow2_repair_options *options)
{
	for (size_t i = 0; i < options->only_count; i++)
		if (options->only[i]->number == QCOW2_PROBLEM_COMPRESSED_OVERLAP ||
		    options->only[i]->number == QCOW2_PROBLEM_COMPRESSED_INFLATE)
			return true;
	return options->deep;
}

/* Frees what the last check counted, or packs it if it is that of the first round. */
static int drop_counted(struct q2_repair *repair)
{
	bool is_first = repair->counted == repair->counted_first;
	int failed = 0;

	if (!is_first)
		q2_references_free(repair->counted);
	else if (repair->counted && !q2_references_pack(repair->counted))
		failed = q2_memory_fail(&repair->counted->memory, repair->err);
	repair->counted = NULL;
	return failed;
}

/* Checks the image as it is planned now. Doctors hear of its problems if they are to work. */
static int check(struct q2_repair *repair, bool told, struct q2_check_totals *totals, bool keep)
{
	const struct qcow2_check_options how = {
		.threads = repair->options->threads,
		.memory_limit_bytes = repair->options->memory_limit_bytes,
		.clusters_untold = true,
		.deep = is_deep(repair->options),
		.damage = true,
		.lost_mappings = true,
		.digest = totals != &repair->later,
		.problem = told ? hear : NULL,
		.progress = repair->options->progress ? hear_progress : NULL,
		.opaque = repair,
	};
	struct qcow2_error err;

	q2_check_totals_release(totals);
	if (drop_counted(repair))
		return -1;
	if (q2_check_keep(repair->image, &how, totals, keep ? &repair->counted : NULL, &err) == 0)
		return 0;
	/* A doctor has filled repair->err itself. */
	if (!repair->failed)
		*repair->err = err;
	return -1;
}

/* The check that a round begins with. What it counts is kept, and that of the first round longer. */
static int check_round(struct q2_repair *repair, bool told)
{
	repair->counted_writes = qcow2_plan_count(repair->plan);
	if (check(repair, told, repair->found, true))
		return -1;
	if (repair->round == 0 && repair->counted) {
		repair->counted_first = repair->counted;
		repair->counted_first_bits = repair->geometry->cluster_bits;
	}
	return 0;
}

static void forget(struct q2_repair *repair)
{
	for (unsigned i = 0; i < Q2_DOCTORS; i++) {
		if (doctors[i]->forget)
			doctors[i]->forget(repair);
		repair->notes[i] = NULL;
	}
}

/* Lets the doctors work. Those behind the header's need a geometry. */
static int mend(struct q2_repair *repair)
{
	repair->begin_again = false;
	repair->is_header_claimed = false;
	for (unsigned i = 0; i < Q2_DOCTORS && !repair->begin_again; i++) {
		if (i > Q2_DOCTOR_HEADER && !repair->geometry)
			break;
		if (i > Q2_DOCTOR_HEADER && repair->is_header_claimed)
			break;
		if (doctors[i]->mend && doctors[i]->mend(repair))
			return -1;
	}
	return 0;
}

/* *planned: whether anything was. The first check is also that of the image before. */
static int run_round(struct q2_repair *repair, bool *planned)
{
	size_t before = qcow2_plan_count(repair->plan);
	int failed;

	repair->found = repair->round == 0 ? &repair->result->before : &repair->later;
	failed = open_image(repair) || check_round(repair, true);
	if (!failed && has_impossible_l1(repair))
		failed = q2_fail(repair->err, QCOW2_ERROR_UNSUPPORTED,
				 offsetof(struct qcow2_header, l1_size),
				 "the header's L1 table and virtual size are larger than any "
				 "program opens, and the table runs over everything behind it: "
				 "'qcow2 rescue' finds out what the header should say");
	if (!failed)
		failed = mend(repair);
	forget(repair);
	*planned = qcow2_plan_count(repair->plan) != before;
	return failed ? -1 : 0;
}

/* A repair for leaks alone needs no doctor. */
static int run_rounds(struct q2_repair *repair)
{
	const struct qcow2_repair_options *options = repair->options;
	bool planned = true;

	if (options->extent == QCOW2_REPAIR_LEAKS && options->only_count == 0 &&
	    options->drop_count == 0) {
		repair->found = &repair->result->before;
		return open_image(repair) || check_round(repair, false) ? -1 : 0;
	}
	for (; planned && repair->round < ROUNDS_MOST; repair->round++) {
		if (run_round(repair, &planned))
			return -1;
		/* What was in the way is mended. */
		if (!planned && repair->bitmaps == Q2_BITMAPS_WAIT) {
			repair->bitmaps = Q2_BITMAPS_LAST;
			planned = true;
		}
	}
	return 0;
}

/* Whether the image has no problem at all, and nothing is to be done to it. */
static bool is_done(const struct q2_repair *repair)
{
	const struct qcow2_check_result *before = &repair->result->before.sum;

	return qcow2_plan_count(repair->plan) == 0 &&
	       before->corruptions + before->leaks + before->warnings == 0;
}

/*
 * Makes `counted` and `found` those of the image as it is planned now, for the refcounts. The last
 * round planned nothing, so that they are, unless there were too many rounds.
 */
static int count_again(struct q2_repair *repair)
{
	if (repair->counted && repair->counted_writes == qcow2_plan_count(repair->plan))
		return 0;
	repair->counted_writes = qcow2_plan_count(repair->plan);
	repair->found = &repair->later;
	return check(repair, false, repair->found, true);
}

/* Plans refcounts once nobody else has anything to do. */
static int finish_refcounts(struct q2_repair *repair)
{
	/* Refcounts and copied flags do not change what a disk reads. */
	if (open_image(repair) || (qcow2_plan_count(repair->plan) > 0 && q2_repair_prove(repair)))
		return -1;
	if (!repair->geometry)
		return 0;
	if (count_again(repair) || q2_repair_refcounts(repair) || open_image(repair))
		return -1;
	return 0;
}

/*
 * Whether to go round once more: a refcount table or a block that moved may have freed the place of
 * another table, which can be mended then.
 */
static bool may_find_more(const struct q2_repair *repair)
{
	const struct q2_check_totals *found = repair->found;

	if (repair->options->extent == QCOW2_REPAIR_LEAKS)
		return false;
	/* What the header should say may be found out once all else is right. */
	return found->by_kind[QCOW2_PROBLEM_L1_TOO_SMALL] > 0 ||
	       (repair->refcounts_moved &&
		found->sum.corruptions > q2_faults_of_refcounts(found->by_kind) +
						 found->by_kind[QCOW2_PROBLEM_FEATURE_CORRUPT]);
}

/* Counts the image of before the repair anew: planning refcounts has changed what was counted. */
static int recount_first(struct q2_repair *repair)
{
	const struct qcow2_check_options how = {
		.threads = repair->options->threads,
		.memory_limit_bytes = repair->options->memory_limit_bytes,
		.clusters_untold = true,
		.lost_mappings = true,
	};
	struct q2_check_totals totals;
	struct qcow2_image *image;
	int failed;

	if (!repair->counted_first || repair->counted_first != repair->counted)
		return 0;
	q2_references_free(repair->counted);
	repair->counted = repair->counted_first = NULL;
	if (qcow2_image_open(repair->plan->source, &image, repair->err))
		return -1;
	failed = q2_check_keep(image, &how, &totals, &repair->counted_first, repair->err);
	qcow2_image_close(image);
	if (failed)
		return -1;
	q2_check_totals_release(&totals);
	/* What cannot be counted is NULL. */
	if (repair->counted_first && !q2_references_pack(repair->counted_first))
		return q2_memory_fail(&repair->counted_first->memory, repair->err);
	return 0;
}

static int settle(struct q2_repair *repair)
{
	if (finish_refcounts(repair))
		return -1;
	if (repair->geometry && may_find_more(repair)) {
		repair->is_settled = true;
		if (recount_first(repair) || run_rounds(repair) || finish_refcounts(repair))
			return -1;
	}
	return repair->geometry ? q2_repair_bits(repair) : 0;
}

static void free_counted(struct q2_repair *repair)
{
	if (repair->counted != repair->counted_first)
		q2_references_free(repair->counted);
	q2_references_free(repair->counted_first);
	repair->counted = repair->counted_first = NULL;
}

/* Checks the image as it will be. Nothing is planned any more: what was counted has served. */
static int check_after(struct q2_repair *repair)
{
	free_counted(repair);
	return open_image(repair) || check(repair, false, &repair->result->after, false) ? -1 : 0;
}

static int finish(struct q2_repair *repair)
{
	struct q2_repair_result *result = repair->result;
	static const struct qcow2_bytes any = {NULL, 0};

	result->public.before = &result->before.sum;
	result->public.after = &result->after.sum;
	if (is_done(repair)) {
		if (q2_result_copy_before(repair))
			return -1;
		q2_plan_note_checks(repair->plan, &result->before, &result->after);
		return 0;
	}
	if (settle(repair))
		return -1;
	if (qcow2_plan_count(repair->plan) > 0 &&
	    (qcow2_edit_begin(repair->plan, repair->err) ||
	     qcow2_plan_intend(repair->plan, QCOW2_INTENT_REPAIR, any, repair->err)))
		return -1;
	if (check_after(repair))
		return -1;
	q2_plan_note_checks(repair->plan, &result->before, &result->after);
	if (qcow2_plan_size_bytes(repair->plan) > repair->plan->old_size_bytes)
		result->public.added_bytes =
			qcow2_plan_size_bytes(repair->plan) - repair->plan->old_size_bytes;
	return q2_result_fill_left(repair);
}

static int run(struct q2_repair *repair)
{
	int failed = run_rounds(repair) || finish(repair);

	q2_check_totals_release(&repair->later);
	q2_space_close(repair);
	q2_vector_release(&repair->bitmap_clusters);
	q2_vector_release(&repair->dropped);
	free_counted(repair);
	q2_told_release(&repair->told);
	close_image(repair);
	return failed ? -1 : 0;
}

int qcow2_repair(struct qcow2_plan *plan, const struct qcow2_repair_options *options,
		 struct qcow2_repair_result **out, struct qcow2_error *err)
{
	struct qcow2_repair_options mine;
	struct qcow2_error ignored;
	struct q2_repair *repair;
	int failed = -1;

	if (q2_sized_take(&mine, sizeof(mine), options, err))
		return -1;
	if (qcow2_plan_count(plan) > 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "a repair begins with an empty plan");
	repair = q2_alloc(sizeof(*repair));
	if (!repair)
		return q2_fail_memory(err);
	repair->plan = plan;
	q2_vector_init(&repair->dropped, sizeof(uint64_t), SNAPSHOTS_MOST);
	q2_vector_init(&repair->bitmap_clusters, sizeof(struct q2_repair_run), BITMAP_RUNS_MOST);
	repair->options = &mine;
	repair->err = err ? err : &ignored;
	repair->result = q2_alloc(sizeof(*repair->result));
	if (!repair->result) {
		q2_fail_memory(err);
	} else {
		repair->result->public.size = sizeof(repair->result->public);
		failed = run(repair);
		if (failed)
			qcow2_repair_result_free(&repair->result->public);
		else
			*out = &repair->result->public;
	}
	q2_free(repair);
	return failed;
}
