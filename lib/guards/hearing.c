/* SPDX-License-Identifier: MIT */
/* See hearing.h. */
#include "guards/hearing.h"

#include <qcow2/entry.h>

#include "guards/guards.h"
#include "plan/plan.h"

/* Problems of a kind that are told to the caller. */
#define SHOWN_MOST 5

static size_t id_of(const struct qcow2_problem *problem)
{
	return problem->kind->number;
}

int q2_hear_before(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_hearing *hearing = opaque;

	/* Nobody tells of this cluster again if the clusters of both images are checked at once. */
	if (q2_hearing_is_shared(hearing) && id_of(problem) == QCOW2_PROBLEM_CLUSTER_OWNERS)
		q2_guards_shared_cluster(hearing->trial, problem);
	q2_known_add(&hearing->known, problem, &hearing->trial->had);
	return 0;
}

/* Counts problems which say that a bitmap, its table or the directory is not what it seems. */
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
 * Whether a problem was there before and could not be seen. There are two kinds. Leaks: a damaged
 * bitmap seemed to use the cluster. Oddities of bitmaps: the directory's size or the number of
 * bitmaps hid the bitmap.
 *
 * Leaks are excused only for plans that mend bitmaps. Otherwise a plan could drop a pointer to
 * guest data: if the table that it leads to counts too little, this removes a problem, and leaks
 * what the table led to.
 */
static bool was_hidden(const struct q2_hearing *hearing, size_t id)
{
	static const struct qcow2_bytes any = {NULL, 0};
	bool of_bitmaps = id == QCOW2_PROBLEM_BITMAP_IN_USE ||
			  id == QCOW2_PROBLEM_BITMAP_NAME_TEXT ||
			  id == QCOW2_PROBLEM_BITMAP_TABLE_SIZE_STALE;

	if (id == QCOW2_PROBLEM_REFCOUNT_HIGH &&
	    !q2_is_intended(&hearing->trial->plan->intents, QCOW2_INTENT_BITMAP_MENDED, any))
		return false;
	return (of_bitmaps || id == QCOW2_PROBLEM_REFCOUNT_HIGH) &&
	       count_damage_of_bitmaps(&hearing->base) >
		       count_damage_of_bitmaps(&hearing->verdict->after);
}

/*
 * Whether the plan lowers the refcount that a problem is about. One that is not in the file yet
 * counts as lowered.
 */
static bool is_lowered(const struct q2_trial *trial, const struct qcow2_problem *problem)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(trial->after);
	const unsigned width = geometry->refcount_bits;
	size_t size = width < 8 ? 1 : width / 8;
	uint64_t offset = problem->offset_bytes;
	/* Which of those in a byte it is. */
	uint64_t inside =
		width < 8 ? (problem->cluster_offset_bytes >> geometry->cluster_bits) % (8 / width)
			  : 0;
	uint8_t old[8], new[8];
	struct qcow2_error ignored;

	if (offset == QCOW2_NO_OFFSET || offset >= trial->plan->old_size_bytes ||
	    q2_plan_read_old(trial->plan, offset, old, size, &ignored) ||
	    q2_plan_read(trial->plan, offset, new, size, &ignored))
		return true;
	return qcow2_refcount_get(new, inside, width) < qcow2_refcount_get(old, inside, width);
}

/*
 * A repair lets the check see what damage hid, so that problems may appear that were there before.
 * Only what lets clusters be overwritten counts, and only where the repair itself wrote it.
 */
static bool is_excused_by_repair(const struct q2_hearing *hearing,
				 const struct qcow2_problem *problem)
{
	size_t id = id_of(problem);

	if (!hearing->trial->repairs)
		return false;
	/* Without a geometry, nobody looks at refcounts. */
	return id != QCOW2_PROBLEM_REFCOUNT_LOW || (qcow2_image_geometry(hearing->trial->after) &&
						    !is_lowered(hearing->trial, problem));
}

static bool is_new(struct q2_hearing *hearing, const struct qcow2_problem *problem)
{
	const struct q2_verdict *verdict = hearing->verdict;
	size_t id = id_of(problem);

	if (is_excused_by_repair(hearing, problem))
		return false;
	/* If the bitmaps bit was clear, all bitmaps were stale, which was one problem. */
	if (id == QCOW2_PROBLEM_BITMAP_IN_USE &&
	    hearing->base.by_kind[QCOW2_PROBLEM_BITMAPS_INCONSISTENT] > 0)
		return false;
	if (was_hidden(hearing, id))
		return false;
	if (hearing->base.by_kind[id] > Q2_TOLD_MOST || verdict->after.by_kind[id] > Q2_TOLD_MOST)
		return verdict->after.by_kind[id] > hearing->base.by_kind[id];
	return !q2_known_take(&hearing->known, problem, &hearing->trial->has);
}

int q2_hear_after(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_hearing *hearing = opaque;

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
