/* SPDX-License-Identifier: MIT */
/* Whether a plan would leave an image with problems that it has not now. */
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "edit/plan.h"

/* Of a kind of which there are more, only their number is compared. */
#define TOLD_MOST  10000
#define NAMES_MOST ((size_t)1 << 21)
#define SHOWN_MOST 5

/* The problems that there are before, and what is heard of those after. */
struct hearing {
	struct qcow2_plan_verdict *verdict;
	struct qcow2_name_set before;
	void (*problem)(void *opaque, const struct qcow2_problem *problem);
	void *opaque;
	bool short_of_memory;
	uint64_t shown[QCOW2_PROBLEM_COUNT];
};

static size_t id_of(const struct qcow2_problem *problem)
{
	size_t count;

	return (size_t)(problem->kind - qcow2_problem_kinds(&count));
}

/* What makes a problem the same as before: its kind and its place. */
static uint64_t hash_of(const struct qcow2_problem *problem)
{
	const struct qcow2_hash_key key = {id_of(problem), 0};

	return qcow2_hash(&key, (struct qcow2_bytes){(const uint8_t *)problem->where,
						     strlen(problem->where)});
}

static void hear_before(void *opaque, const struct qcow2_problem *problem)
{
	struct hearing *hearing = opaque;
	uint64_t earlier;

	if (qcow2_name_set_insert(&hearing->before, hash_of(problem), 0, &earlier) ==
	    QCOW2_ERROR_MEMORY)
		hearing->short_of_memory = true;
}

/* How many problems say that a bitmap, its table or the directory is not what it seems to be. */
static uint64_t count_damage_of_bitmaps(const struct qcow2_check_result *result)
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
 * unusual about bitmaps that the directory's size or their number hid.
 */
static bool was_hidden(const struct qcow2_plan_verdict *verdict, size_t id)
{
	bool of_bitmaps = id == QCOW2_PROBLEM_BITMAP_IN_USE ||
			  id == QCOW2_PROBLEM_BITMAP_NAME_TEXT ||
			  id == QCOW2_PROBLEM_BITMAP_TABLE_SIZE_STALE;

	return (of_bitmaps || id == QCOW2_PROBLEM_REFCOUNT_HIGH) &&
	       count_damage_of_bitmaps(&verdict->before) > count_damage_of_bitmaps(&verdict->after);
}

static bool is_new(struct hearing *hearing, const struct qcow2_problem *problem)
{
	const struct qcow2_plan_verdict *verdict = hearing->verdict;
	size_t id = id_of(problem);
	uint64_t earlier;

	/* All bitmaps were stale before, which was told once. */
	if (id == QCOW2_PROBLEM_BITMAP_IN_USE &&
	    verdict->before.by_kind[QCOW2_PROBLEM_BITMAPS_INCONSISTENT] > 0)
		return false;
	if (was_hidden(verdict, id))
		return false;
	/* Extensions move when others are laid out before them. */
	if (verdict->before.by_kind[id] > TOLD_MOST || verdict->after.by_kind[id] > TOLD_MOST ||
	    strncmp(problem->where, "extensions", 10) == 0)
		return verdict->after.by_kind[id] > verdict->before.by_kind[id];
	if (qcow2_name_set_insert(&hearing->before, hash_of(problem), 1, &earlier) ==
	    QCOW2_ERROR_MEMORY)
		hearing->short_of_memory = true;
	/* Two of a kind at one place count as new only if there are more of the kind. */
	return earlier == QCOW2_NAME_SET_NEW ||
	       (earlier == 1 && verdict->after.by_kind[id] > verdict->before.by_kind[id]);
}

static void hear_after(void *opaque, const struct qcow2_problem *problem)
{
	struct hearing *hearing = opaque;

	if (!is_new(hearing, problem))
		return;
	hearing->verdict->adds_problems = true;
	if (hearing->problem && hearing->shown[id_of(problem)]++ < SHOWN_MOST)
		hearing->problem(hearing->opaque, problem);
}

/* Checks a source, if it is an image; *opened says whether it is. */
static int check_source(struct qcow2_source *source, const struct qcow2_check_options *options,
			struct qcow2_check_result *result, bool *opened, struct qcow2_error *err)
{
	struct qcow2_image *image;
	int failed;

	*opened = qcow2_image_open(source, &image, err) == 0;
	if (!*opened)
		return err->code == QCOW2_ERROR_IO || err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	failed = qcow2_check(image, options, result, err);
	qcow2_image_close(image);
	return failed;
}

static int judge(struct qcow2_plan *plan, struct qcow2_source *view, struct hearing *hearing,
		 struct qcow2_error *err)
{
	struct qcow2_plan_verdict *verdict = hearing->verdict;
	struct qcow2_check_options how = {
		.max_per_kind = TOLD_MOST, .digest = true, .opaque = hearing};
	struct qcow2_check_result again;
	bool opened;

	/* Most images are sound afterwards, and nothing has to be compared. */
	if (check_source(view, &how, &verdict->after, &opened, err))
		return -1;
	if (!opened)
		verdict->not_opened = *err;
	how.problem = hear_before;
	if (check_source(plan->source, &how, &verdict->before, &verdict->opened_before, err))
		return -1;
	qcow2_plan_note_digests(plan, &verdict->before, &verdict->after);
	how.digest = false;
	if (!opened)
		verdict->adds_problems = verdict->opened_before;
	/* What is seen only because the clusters can be looked at now is not new. */
	if (!opened || !verdict->opened_before ||
	    (verdict->after.clusters_checked && !verdict->before.clusters_checked) ||
	    verdict->after.corruptions + verdict->after.leaks + verdict->after.warnings == 0)
		return 0;
	how.problem = hear_after;
	if (check_source(view, &how, &again, &opened, err))
		return -1;
	return hearing->short_of_memory ? qcow2_fail_memory(err) : 0;
}

int qcow2_plan_judge(struct qcow2_plan *plan, struct qcow2_plan_verdict *verdict,
		     void (*problem)(void *opaque, const struct qcow2_problem *problem),
		     void *opaque, struct qcow2_error *err)
{
	struct hearing hearing = {.verdict = verdict, .problem = problem, .opaque = opaque};
	struct qcow2_error ignored;
	struct qcow2_source *view;
	int failed;

	*verdict = (struct qcow2_plan_verdict){.not_opened = {.code = QCOW2_ERROR_NONE}};
	if (qcow2_plan_view(plan, &view, err))
		return -1;
	qcow2_name_set_init(&hearing.before, NAMES_MOST);
	failed = judge(plan, view, &hearing, err ? err : &ignored);
	qcow2_name_set_release(&hearing.before);
	qcow2_source_close(view);
	return failed;
}
