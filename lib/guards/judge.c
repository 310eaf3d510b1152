/* SPDX-License-Identifier: MIT */
/*
 * Whether a plan would leave an image with problems that it has not now, or give up what protects
 * its data.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sized.h"
#include "guards/guards.h"
#include "guards/known.h"
#include "plan/digests.h"
#include "plan/plan.h"

/* Of a kind of which there are more, only their number is compared. */
#define TOLD_MOST  100000
#define SHOWN_MOST 5
/* The magic number and the version. */
#define START_BYTES offsetof(struct qcow2_header, backing_file_offset)

/* The problems that there are before, and what is heard of those after. */
struct hearing {
	struct q2_verdict *verdict;
	struct q2_known known;
	struct q2_trial *trial;
	const struct qcow2_judge_options *options;
	uint64_t shown[Q2_PROBLEM_NUMBERS];
};

static size_t id_of(const struct qcow2_problem *problem)
{
	return problem->kind->number;
}

static int hear_before(void *opaque, const struct qcow2_problem *problem)
{
	struct hearing *hearing = opaque;

	q2_known_add(&hearing->known, problem, &hearing->trial->had);
	return 0;
}

/* How many problems say that a bitmap, its table or the directory is not what it seems to be. */
static uint64_t count_damage_of_bitmaps(const struct q2_check_totals *result)
{
	static const enum qcow2_problem_id ids[] = {
		QCOW2_PROBLEM_BITMAPS_COUNT,           QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE,
		QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET, QCOW2_PROBLEM_BITMAP_DIRECTORY_BEYOND_END,
		QCOW2_PROBLEM_BITMAP_ENTRY_CUT,        QCOW2_PROBLEM_BITMAP_TYPE,
		QCOW2_PROBLEM_BITMAP_GRANULARITY,      QCOW2_PROBLEM_BITMAP_TABLE_OFFSET,
		QCOW2_PROBLEM_BITMAP_TABLE_BEYOND_END, QCOW2_PROBLEM_BITMAP_TABLE_SIZE,
		QCOW2_PROBLEM_BITMAP_TABLE_SHARED,     QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED,
		QCOW2_PROBLEM_CLUSTER_OWNERS,          QCOW2_PROBLEM_REFCOUNT_LOW,
	};
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		sum += result->by_kind[ids[i]];
	return sum;
}

/*
 * What could not be seen before: leaks that only a damaged bitmap seemed to use, and what is
 * unusual about bitmaps that the directory's size or their number hid. Leaks are excused to who
 * deals with bitmaps: a pointer to the guest's data that goes, because the table that it leads to
 * counts too little, takes a problem away as well, and leaves what the table led to behind.
 */
static bool was_hidden(const struct hearing *hearing, size_t id)
{
	static const struct qcow2_bytes any = {NULL, 0};
	const struct q2_verdict *verdict = hearing->verdict;
	bool of_bitmaps = id == QCOW2_PROBLEM_BITMAP_IN_USE ||
			  id == QCOW2_PROBLEM_BITMAP_NAME_TEXT ||
			  id == QCOW2_PROBLEM_BITMAP_TABLE_SIZE_STALE;

	if (id == QCOW2_PROBLEM_REFCOUNT_HIGH &&
	    !q2_is_intended(&hearing->trial->plan->intents, QCOW2_INTENT_BITMAP_MENDED, any))
		return false;
	return (of_bitmaps || id == QCOW2_PROBLEM_REFCOUNT_HIGH) &&
	       count_damage_of_bitmaps(&verdict->before) > count_damage_of_bitmaps(&verdict->after);
}

static bool is_new(struct hearing *hearing, const struct qcow2_problem *problem)
{
	const struct q2_verdict *verdict = hearing->verdict;
	size_t id = id_of(problem);

	/* All bitmaps were stale before, which was told once. */
	if (id == QCOW2_PROBLEM_BITMAP_IN_USE &&
	    verdict->before.by_kind[QCOW2_PROBLEM_BITMAPS_INCONSISTENT] > 0)
		return false;
	if (was_hidden(hearing, id))
		return false;
	if (verdict->before.by_kind[id] > TOLD_MOST || verdict->after.by_kind[id] > TOLD_MOST)
		return verdict->after.by_kind[id] > verdict->before.by_kind[id];
	return !q2_known_take(&hearing->known, problem, &hearing->trial->has);
}

static int hear_after(void *opaque, const struct qcow2_problem *problem)
{
	struct hearing *hearing = opaque;

	if (id_of(problem) == QCOW2_PROBLEM_CLUSTER_OWNERS && hearing->trial->after)
		q2_guards_shared_cluster(hearing->trial, problem);
	if (!is_new(hearing, problem))
		return 0;
	hearing->verdict->adds_problems = true;
	hearing->verdict->added_by_kind[id_of(problem)]++;
	if (!hearing->options->problem || hearing->shown[id_of(problem)]++ >= SHOWN_MOST)
		return 0;
	return hearing->options->problem(hearing->options->opaque, problem);
}

/* Checks a source, if it is an image; *opened says whether it is. */
static int check_source(struct qcow2_source *source, const struct qcow2_check_options *options,
			struct q2_check_totals *totals, bool *opened, struct qcow2_error *err)
{
	struct qcow2_image *image;
	int failed;

	*opened = qcow2_image_open(source, &image, err) == 0;
	if (!*opened)
		return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	failed = q2_check(image, options, totals, err);
	qcow2_image_close(image);
	return failed;
}

static int judge(struct qcow2_plan *plan, struct qcow2_source *view, struct hearing *hearing,
		 struct qcow2_error *err)
{
	struct q2_verdict *verdict = hearing->verdict;
	struct qcow2_check_options how = {
		.max_per_kind = TOLD_MOST, .digest = true, .opaque = hearing};
	struct q2_check_totals again;
	bool opened;

	/* Most images are sound afterwards, and nothing has to be compared. */
	if (check_source(view, &how, &verdict->after, &opened, err))
		return -1;
	if (!opened)
		verdict->not_opened = *err;
	how.problem = hear_before;
	if (check_source(plan->source, &how, &verdict->before, &verdict->opened_before, err))
		return -1;
	q2_plan_note_digests(plan, &verdict->before, &verdict->after);
	how.digest = false;
	if (!opened)
		verdict->adds_problems = verdict->opened_before;
	/* What is seen only because the clusters can be looked at now is not new. */
	if (!opened || !verdict->opened_before ||
	    (verdict->after.sum.clusters_checked && !verdict->before.sum.clusters_checked) ||
	    verdict->after.sum.corruptions + verdict->after.sum.leaks +
			    verdict->after.sum.warnings ==
		    0)
		return 0;
	how.problem = hear_after;
	if (check_source(view, &how, &again, &opened, err))
		return -1;
	return hearing->known.short_of_memory ? q2_fail_memory(err) : 0;
}

/* ---- guards ---- */

/* An image, unless the source is none, and what it has. */
static int take_stock(struct qcow2_source *source, struct qcow2_image **image,
		      struct q2_inventory *inventory, struct qcow2_error *err)
{
	if (qcow2_image_open(source, image, err) == 0)
		return q2_inventory_take(inventory, *image, err);
	*image = NULL;
	return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
}

/*
 * What the plan makes an image by setting its magic number and version right has bits that protect
 * it all the same: the guards compare with what it would be with these alone.
 */
static int restore(struct q2_trial *trial)
{
	uint8_t start[START_BYTES];
	struct qcow2_plan *plan = trial->plan;

	if (trial->before || !trial->after)
		return 0;
	if (q2_plan_read(plan, 0, start, sizeof(start), trial->err) ||
	    qcow2_plan_open(plan->source, &trial->restored, trial->err) ||
	    qcow2_plan_write(trial->restored, QCOW2_PHASE_POINT, 0,
			     (struct qcow2_bytes){start, sizeof(start)}, "", trial->err) ||
	    qcow2_plan_view(trial->restored, &trial->restored_view, trial->err))
		return -1;
	return take_stock(trial->restored_view, &trial->before, &trial->had, trial->err);
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

/* What is not changed is not judged; and what is no image has nothing to protect. */
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
	struct hearing hearing = {.verdict = verdict, .trial = &trial, .options = options};
	struct qcow2_source *view;
	int failed;

	if (qcow2_plan_view(plan, &view, err))
		return -1;
	q2_inventory_init(&trial.had, &plan->intents, false);
	q2_inventory_init(&trial.has, &plan->intents, true);
	q2_known_init(&hearing.known);
	failed = take_stock(plan->source, &trial.before, &trial.had, trial.err) ||
		 take_stock(view, &trial.after, &trial.has, trial.err) || restore(&trial) ||
		 judge(plan, view, &hearing, trial.err) || ask_guards(&trial);
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
