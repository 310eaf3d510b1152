/* SPDX-License-Identifier: MIT */
/*
 * Judges a plan: finds the problems that the planned image would have and the image has not, and
 * asks the guards.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "guards/guards.h"
#include "guards/hearing.h"
#include "guards/mapping.h"
#include "plan/digests.h"
#include "plan/plan.h"

/* The magic number and the version. */
#define START_BYTES   offsetof(struct qcow2_header, backing_file_offset)
#define RESTORED_MOST 8
/* Fields from which the geometry follows. */
#define CLUSTER_BITS_AT   offsetof(struct qcow2_header, cluster_bits)
#define REFCOUNT_ORDER_AT offsetof(struct qcow2_header, refcount_order)

/* Checks a source if it is an image; *opened says whether it is. */
static int check_source(struct qcow2_source *source, const struct qcow2_check_options *options,
			struct q2_check_totals *totals, bool *opened, struct qcow2_error *err)
{
	struct qcow2_image *image;
	int failed;

	*opened = qcow2_image_open(source, &image, err) == 0;
	if (!*opened)
		return q2_is_fault(err) ? -1 : 0;
	failed = q2_check(image, options, totals, err);
	qcow2_image_close(image);
	return failed;
}

/*
 * Whether the plan changes compressed clusters. Only then are all compressed clusters inflated, in
 * both images: a descriptor may lead to bytes that are no compressed cluster without breaking any
 * other rule.
 */
static int needs_deep(const struct q2_trial *trial, bool *deep)
{
	const struct qcow2_geometry *before, *after;

	*deep = false;
	if (!trial->before || !trial->after)
		return 0;
	before = qcow2_image_geometry(trial->before);
	after = qcow2_image_geometry(trial->after);
	if (!before || !after || before->cluster_bits != after->cluster_bits ||
	    before->l2_entry_bytes != after->l2_entry_bytes)
		return 0;
	return q2_changes_compressed(trial->before, trial->after, trial->plan, deep, trial->err);
}

/* Checks the file as it is, and hears the problems that the changed image is compared with. */
static int check_before(struct q2_hearing *hearing, struct qcow2_check_options *how)
{
	struct q2_trial *trial = hearing->trial;
	struct q2_verdict *verdict = hearing->verdict;
	bool opened;

	how->problem = trial->restored ? NULL : q2_hear_before;
	if (check_source(trial->plan->source, how, &verdict->before, &verdict->opened_before,
			 trial->err))
		return -1;
	hearing->base = verdict->before;
	if (!trial->restored)
		return 0;
	how->problem = q2_hear_before;
	return check_source(trial->restored_view, how, &hearing->base, &opened, trial->err);
}

/* Whether a check found any problem. */
static bool has_problems(const struct q2_check_totals *totals)
{
	return totals->sum.corruptions + totals->sum.leaks + totals->sum.warnings > 0;
}

/* Makes the totals of the planned image from those of the image before. */
static int find_after(struct qcow2_source *view, struct q2_hearing *hearing,
		      const struct qcow2_check_options *how)
{
	struct q2_verdict *verdict = hearing->verdict;
	bool opened;

	/* Somebody writes to the file, as may happen in a dry run. */
	if (!q2_hearing_is_shared(hearing))
		return check_source(view, how, &verdict->after, &opened, hearing->trial->err);
	q2_structures_derive(&verdict->after, &verdict->before, &hearing->had, &hearing->has);
	return 0;
}

/* Hears the problems of the planned image, but for those that the image before has as well. */
static int check_again(struct qcow2_source *view, struct q2_hearing *hearing,
		       struct qcow2_check_options *how)
{
	struct q2_trial *trial = hearing->trial;
	struct q2_structures again;
	struct q2_check_totals totals;
	bool opened;

	how->digest = false;
	how->problem = q2_hear_after;
	return q2_hearing_is_shared(hearing)
		       ? q2_check_structures(trial->after, how, &again, trial->err)
		       : check_source(view, how, &totals, &opened, trial->err);
}

/* Keeps the digests for an undo file, unless the caller will not make one. */
static void note_digests(const struct q2_hearing *hearing)
{
	if (!hearing->options->without_digests)
		q2_plan_note_digests(hearing->trial->plan, &hearing->verdict->before,
				     &hearing->verdict->after);
}

/* Whether a guard asks how many problems there are, which only a whole check knows. */
static bool is_total_needed(const struct q2_hearing *hearing)
{
	return !hearing->options->without_totals ||
	       (qcow2_image_header(hearing->trial->before)->incompatible_features &
		QCOW2_INCOMPATIBLE_CORRUPT);
}

/*
 * Judges a plan that changes nothing but the header without a check of L2 entries and refcounts,
 * whose problems it does not change. They are read only as far as they say who else uses the
 * header's cluster. *judged is false if somebody may: then a check has to find out.
 */
static int judge_header(struct q2_hearing *hearing, struct qcow2_check_options *how, bool *judged)
{
	struct q2_trial *trial = hearing->trial;
	struct q2_verdict *verdict = hearing->verdict;
	struct q2_header_alone alone;

	how->problem = q2_hear_before;
	if (q2_check_header_alone(trial->before, how, &hearing->had, &alone, trial->err))
		return -1;
	*judged = alone.is_alone && q2_hearing_is_shared(hearing);
	if (!*judged) {
		q2_known_release(&hearing->known);
		q2_known_init(&hearing->known);
		return 0;
	}
	q2_structures_total(&verdict->before, trial->before, &hearing->had, &alone, how->digest);
	q2_structures_total(&verdict->after, trial->after, &hearing->has, &alone, how->digest);
	return 0;
}

/* Finds the totals of both images by one check, that of the image before. */
static int judge_clusters(struct qcow2_source *view, struct q2_hearing *hearing,
			  struct qcow2_check_options *how)
{
	const struct q2_trial *trial = hearing->trial;

	how->problem = q2_hear_before;
	if (q2_check_noting(trial->before, how, &hearing->verdict->before, &hearing->had,
			    trial->err))
		return -1;
	how->problem = NULL;
	return find_after(view, hearing, how);
}

/*
 * Judges a plan that changes nothing but the header. What can be new are problems of header,
 * extensions and structures, which are compared as always. hearing->shares is false at the end if
 * the plan is none of these; then nothing has been judged.
 */
static int judge_shared(struct qcow2_source *view, struct q2_hearing *hearing,
			struct qcow2_check_options how)
{
	struct q2_trial *trial = hearing->trial;
	struct q2_verdict *verdict = hearing->verdict;
	const struct q2_changed changed = {trial->before, view, trial->plan->end_bytes};
	bool judged = false;

	if (q2_check_changed(&changed, &how, &hearing->has, &hearing->shares, trial->err))
		return -1;
	if (!hearing->shares)
		return 0;
	if (!is_total_needed(hearing) && judge_header(hearing, &how, &judged))
		return -1;
	if (!judged && judge_clusters(view, hearing, &how))
		return -1;
	hearing->base = verdict->before;
	verdict->opened_before = true;
	note_digests(hearing);
	return has_problems(&verdict->after) ? check_again(view, hearing, &how) : 0;
}

/*
 * Up to three checks, and none if who made the plan has proved that the planned image has no
 * problem. The first, of the planned image, finds for most plans that nothing is wrong.
 * The second, of the image before, gives the totals of the verdict and the problems that are known.
 * Only if the planned image has problems is it checked once more, to compare each with the known
 * ones: to keep those of the first check would need memory for millions of them.
 */
static int judge(struct qcow2_source *view, struct q2_hearing *hearing)
{
	struct q2_trial *trial = hearing->trial;
	struct q2_verdict *verdict = hearing->verdict;
	struct qcow2_check_options how = {.max_per_kind = Q2_TOLD_MOST,
					  .digest = !hearing->options->without_digests,
					  .opaque = hearing};
	struct q2_check_totals again;
	bool opened;

	if (needs_deep(trial, &how.deep))
		return -1;
	if (!how.deep && !trial->restored && q2_plan_is_proved(trial->plan)) {
		verdict->after = trial->plan->digests.found_after;
		verdict->before = hearing->base = trial->plan->digests.found_before;
		verdict->opened_before = true;
		return 0;
	}
	if (!how.deep && trial->before && trial->after && !trial->restored &&
	    judge_shared(view, hearing, how))
		return -1;
	if (hearing->shares)
		return hearing->known.short_of_memory ? q2_fail_memory(trial->err) : 0;
	/* Most images are sound afterwards: then nothing has to be compared. */
	if (check_source(view, &how, &verdict->after, &opened, trial->err))
		return -1;
	if (!opened)
		verdict->not_opened = *trial->err;
	if (check_before(hearing, &how))
		return -1;
	note_digests(hearing);
	how.digest = false;
	if (!opened)
		verdict->adds_problems = verdict->opened_before;
	/* A problem is not new if it is seen only because the clusters can be looked at now. */
	if (!opened || !trial->before ||
	    (verdict->after.sum.clusters_checked && !hearing->base.sum.clusters_checked) ||
	    !has_problems(&verdict->after))
		return 0;
	how.problem = q2_hear_after;
	if (check_source(view, &how, &again, &opened, trial->err))
		return -1;
	return hearing->known.short_of_memory ? q2_fail_memory(trial->err) : 0;
}

/* ---- guards ---- */

/* Opens a source if it is an image, and takes stock of it. */
static int take_stock(struct qcow2_source *source, struct qcow2_image **image,
		      struct q2_inventory *inventory, struct qcow2_error *err)
{
	if (qcow2_image_open(source, image, err) == 0)
		return q2_inventory_take(inventory, *image, err);
	*image = NULL;
	return q2_is_fault(err) ? -1 : 0;
}

/* Gives the image that the plan is compared with the planned bytes of a range. */
static int restore_bytes(struct q2_trial *trial, uint64_t offset, size_t size)
{
	uint8_t bytes[RESTORED_MOST];

	if (!trial->restored && qcow2_plan_open(trial->plan->source, &trial->restored, trial->err))
		return -1;
	return q2_plan_read(trial->plan, offset, bytes, size, trial->err) ||
			       qcow2_plan_write(trial->restored, QCOW2_PHASE_POINT, offset,
						(struct qcow2_bytes){bytes, size}, "", trial->err)
		       ? -1
		       : 0;
}

/* Opens that image, and takes stock of it. */
static int open_restored(struct q2_trial *trial)
{
	qcow2_image_close(trial->before);
	trial->before = NULL;
	qcow2_source_close(trial->restored_view);
	trial->restored_view = NULL;
	q2_inventory_release(&trial->had);
	q2_inventory_init(&trial->had, &trial->plan->intents, false);
	if (qcow2_plan_view(trial->restored, &trial->restored_view, trial->err))
		return -1;
	return take_stock(trial->restored_view, &trial->before, &trial->had, trial->err);
}

/*
 * An image may be none, or one whose tables nobody can find, because of its magic number, version,
 * cluster_bits or refcount_order alone. What protects it protects it all the same. If the plan sets
 * these right, the planned image is compared with what the image would be with these alone.
 */
static int restore(struct q2_trial *trial)
{
	if (!trial->after)
		return 0;
	if (!trial->before && (restore_bytes(trial, 0, START_BYTES) || open_restored(trial)))
		return -1;
	if (!trial->before || qcow2_image_geometry(trial->before) ||
	    !qcow2_image_geometry(trial->after))
		return 0;
	if (restore_bytes(trial, CLUSTER_BITS_AT, 4) ||
	    (qcow2_image_header(trial->before)->version >= 3 &&
	     restore_bytes(trial, REFCOUNT_ORDER_AT, 4)))
		return -1;
	return open_restored(trial);
}

static void close_trial(struct q2_trial *trial)
{
	q2_inventory_release(&trial->had);
	q2_inventory_release(&trial->has);
	qcow2_image_close(trial->before);
	qcow2_image_close(trial->after);
	qcow2_source_close(trial->restored_view);
	qcow2_plan_close(trial->restored);
}

/*
 * Asks all guards. A plan without writes changes nothing, and a file that is no image has nothing
 * to protect.
 */
static int ask_guards(struct q2_trial *trial)
{
	if (trial->plan->count == 0 || !trial->before || !trial->after)
		return 0;
	return q2_guards_image(trial) || q2_guards_shared_tables(trial) ||
			       q2_guards_bitmaps(trial) || q2_guards_lost(trial)
		       ? -1
		       : 0;
}

static int judge_all(struct qcow2_plan *plan, const struct qcow2_judge_options *options,
		     struct q2_verdict *verdict, struct qcow2_error *err)
{
	struct q2_trial trial = {.plan = plan, .verdict = verdict, .err = err};
	struct q2_hearing hearing = {.verdict = verdict, .trial = &trial, .options = options};
	struct qcow2_source *view;
	int failed;

	if (qcow2_plan_view(plan, &view, err))
		return -1;
	q2_inventory_init(&trial.had, &plan->intents, false);
	q2_inventory_init(&trial.has, &plan->intents, true);
	trial.repairs =
		q2_is_intended(&plan->intents, QCOW2_INTENT_REPAIR, (struct qcow2_bytes){NULL, 0});
	q2_known_init(&hearing.known);
	failed = take_stock(plan->source, &trial.before, &trial.had, trial.err) ||
		 take_stock(view, &trial.after, &trial.has, trial.err) || restore(&trial) ||
		 judge(view, &hearing) || ask_guards(&trial);
	q2_known_release(&hearing.known);
	close_trial(&trial);
	qcow2_source_close(view);
	return failed ? -1 : 0;
}

int qcow2_plan_judge(struct qcow2_plan *plan, const struct qcow2_judge_options *options,
		     struct qcow2_plan_verdict **out, struct qcow2_error *err)
{
	struct qcow2_judge_options mine;
	struct qcow2_error ignored;
	struct q2_verdict *verdict;

	if (q2_sized_take(&mine, sizeof(mine), options, err))
		return -1;
	verdict = q2_alloc(sizeof(*verdict));
	if (!verdict)
		return q2_fail_memory(err);
	if (judge_all(plan, &mine, verdict, err ? err : &ignored)) {
		q2_free(verdict);
		return -1;
	}
	q2_verdict_publish(verdict);
	*out = &verdict->public;
	return 0;
}
