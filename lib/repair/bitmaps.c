/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps: what qcow2_bitmap_repair() does, as a part of the repair. It works right behind the
 * header's doctor, before anything mends refcounts, or parts clusters with two users. These are the
 * evidence that bits cannot be believed: a bit that may have been dirty must not come out clean
 * because its cluster looks sound by then.
 */
#include "edit/bitmap_repair/part.h"
#include "repair/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/extension.h>
#include <qcow2/text.h>

#include "base/alloc.h"
#include "base/error.h"

static bool is_of_bitmaps(const struct qcow2_problem_kind *kind)
{
	return strncmp(kind->id, "bitmap", strlen("bitmap")) == 0;
}

/* Kinds that make bits doubtful, or that the doctor mends as well. */
static bool concerns_bitmaps(const struct qcow2_problem_kind *kind)
{
	switch (kind->number) {
	case QCOW2_PROBLEM_REFCOUNT_LOW:
	case QCOW2_PROBLEM_REFCOUNT_HIGH:
	case QCOW2_PROBLEM_REFCOUNT_OVERFLOW:
	case QCOW2_PROBLEM_CLUSTER_OWNERS:
	case QCOW2_PROBLEM_EXTENSION_DUPLICATE:
	case QCOW2_PROBLEM_EXTENSION_LENGTH:
	case QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION:
		return true;
	default:
		return is_of_bitmaps(kind) || strncmp(kind->id, "ref", 3) == 0;
	}
}

/* How many problems the image has that concern bitmaps. */
static uint64_t count_problems(const struct q2_repair *repair)
{
	const struct qcow2_problem_kind *kind = NULL;
	uint64_t count = 0;

	while ((kind = qcow2_problem_kind_next(kind)))
		if (concerns_bitmaps(kind))
			count += repair->found->by_kind[kind->number];
	return count;
}

/* ---- what is allowed ---- */

/* Kinds that are mended at no cost. */
static bool is_mendable(const struct qcow2_problem_kind *kind)
{
	switch (kind->number) {
	case QCOW2_PROBLEM_BITMAPS_COUNT:
	case QCOW2_PROBLEM_BITMAPS_RESERVED:
	case QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE:
	case QCOW2_PROBLEM_BITMAP_ENTRY_PADDING:
	case QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED:
	case QCOW2_PROBLEM_BITMAP_NAME_EMPTY:
	case QCOW2_PROBLEM_BITMAP_NAME_QEMU:
	case QCOW2_PROBLEM_BITMAP_NAME_TEXT:
	case QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE:
	case QCOW2_PROBLEM_BITMAP_ENTRY_RESERVED:
	case QCOW2_PROBLEM_BITMAP_ENTRY_ALL_ONES:
	case QCOW2_PROBLEM_BITMAP_DATA_UNALIGNED:
	case QCOW2_PROBLEM_BITMAP_DATA_BEYOND_END:
	case QCOW2_PROBLEM_BITMAP_DATA_TAIL:
		return true;
	default:
		return false;
	}
}

/* Whether the options allow the doctor to work; *costs: also to give bitmaps up. */
static bool may_work(const struct qcow2_repair_options *options, bool *costs)
{
	bool may = false;

	*costs = options->extent == QCOW2_REPAIR_ALL;
	if (options->only_count == 0)
		return options->extent != QCOW2_REPAIR_LEAKS;
	*costs = false;
	for (size_t i = 0; i < options->only_count; i++) {
		may |= concerns_bitmaps(options->only[i]);
		*costs |= is_of_bitmaps(options->only[i]) && !is_mendable(options->only[i]);
	}
	return may;
}

/* ---- what is told ---- */

static const char *name_of_remedy(enum qcow2_bitmap_remedy remedy)
{
	switch (remedy) {
	case QCOW2_BITMAP_REMEDY_DROPPED:
		return "is dropped";
	case QCOW2_BITMAP_REMEDY_ALL_DIRTY:
		return "becomes all dirty";
	default:
		return "is mended";
	}
}

/* The reason why a bitmap is left is that of all its faults that have no other. */
static void leave_bitmaps(struct q2_repair *repair, enum qcow2_problem_id id,
			  const struct qcow2_bitmap_treatment *treatment)
{
	const struct qcow2_problem_kind *kind = NULL;

	q2_repair_leave(repair, id, "%s", treatment->cost);
	repair->why[id].wants_all = true;
	if (treatment->remedy != QCOW2_BITMAP_REMEDY_NEEDED)
		return;
	while ((kind = qcow2_problem_kind_next(kind))) {
		enum qcow2_problem_id other = (enum qcow2_problem_id)kind->number;

		if (!is_of_bitmaps(kind) || repair->found->by_kind[other] == 0 ||
		    repair->why[other].text[0])
			continue;
		q2_repair_leave(repair, other, "%s", treatment->cost);
		repair->why[other].wants_all = true;
	}
}

/*
 * A step, until it is known that the plan can hold what the bitmaps need: its path and what it does
 * follow, each with a NUL.
 */
struct kept_step {
	uint16_t kind;
	bool costs;
	uint16_t where_size;
	uint16_t does_size;
};

/* Steps that are kept: as many as QEMU has bitmaps, with two faults each. */
#define STEPS_MOST ((size_t)1 << 17)
/* Of what a step does. */
#define DOES_MOST 320
#define STEP_MOST (sizeof(struct kept_step) + QCOW2_PROBLEM_WHERE_MAX + DOES_MOST)

static int keep(struct q2_repair *repair, const struct qcow2_repair_step *step, const char *does)
{
	const struct kept_step kept = {
		.kind = (uint16_t)step->kind->number,
		.costs = step->costs,
		.where_size = (uint16_t)(strlen(step->where) + 1),
		.does_size = (uint16_t)(strlen(does) + 1),
	};
	struct q2_vector *steps = &repair->bitmap_steps;

	if (repair->bitmap_steps_count == STEPS_MOST)
		return 0;
	repair->bitmap_steps_count++;
	if (q2_vector_append(steps, &kept, sizeof(kept)) != QCOW2_ERROR_NONE ||
	    q2_vector_append(steps, step->where, kept.where_size) != QCOW2_ERROR_NONE ||
	    q2_vector_append(steps, does, kept.does_size) != QCOW2_ERROR_NONE)
		return q2_fail_memory(repair->err);
	return 0;
}

static int tell_kept(struct q2_repair *repair)
{
	const uint8_t *at = repair->bitmap_steps.data;

	for (size_t i = 0; i < repair->bitmap_steps_count; i++) {
		struct qcow2_repair_step step = {.size = sizeof(step)};
		struct kept_step kept;

		memcpy(&kept, at, sizeof(kept));
		at += sizeof(kept);
		memcpy(step.where, at, kept.where_size);
		at += kept.where_size;
		step.kind = qcow2_problem_kind_get((enum qcow2_problem_id)kept.kind);
		step.costs = kept.costs;
		step.does = (const char *)at;
		at += kept.does_size;
		if (q2_repair_tell(repair, &step))
			return -1;
	}
	return 0;
}

static int hear_treatment(void *opaque, const struct qcow2_bitmap_treatment *treatment)
{
	struct q2_repair *repair = opaque;
	/* Only a bitmap that is stale as all are has no kind of its own. */
	enum qcow2_problem_id id = treatment->kind ? (enum qcow2_problem_id)treatment->kind->number
						   : QCOW2_PROBLEM_BITMAPS_INCONSISTENT;
	bool left = treatment->remedy == QCOW2_BITMAP_REMEDY_LEFT ||
		    treatment->remedy == QCOW2_BITMAP_REMEDY_NEEDED;
	char name[100], does[DOES_MOST];
	struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(id),
		.costs = treatment->remedy == QCOW2_BITMAP_REMEDY_DROPPED ||
			 treatment->remedy == QCOW2_BITMAP_REMEDY_ALL_DIRTY,
	};

	qcow2_text_escape(treatment->name, name, sizeof(name));
	if (left) {
		leave_bitmaps(repair, id, treatment);
		return 0;
	}
	if (treatment->has_bitmap) {
		snprintf(does, sizeof(does), "bitmap '%s' %s: %s", name,
			 name_of_remedy(treatment->remedy), treatment->cost);
		snprintf(step.where, sizeof(step.where), "bitmaps/%" PRIu64, treatment->index);
	} else {
		snprintf(does, sizeof(does), "%s: %s",
			 treatment->remedy == QCOW2_BITMAP_REMEDY_DROPPED
				 ? "all bitmaps are dropped"
				 : "the list of bitmaps is mended",
			 treatment->cost);
		snprintf(step.where, sizeof(step.where), "bitmaps");
	}
	return keep(repair, &step, does);
}

static int hear_mark(void *opaque, const struct qcow2_bitmap *bitmap,
		     const struct qcow2_problem_kind *kind)
{
	char name[100], does[DOES_MOST];
	struct qcow2_repair_step step = {.kind = kind};

	qcow2_text_escape(bitmap->name, name, sizeof(name));
	snprintf(does, sizeof(does),
		 "bitmap '%s' is marked as in use: something else may have written to it", name);
	snprintf(step.where, sizeof(step.where), "bitmaps/%" PRIu64 "/flags", bitmap->index);
	return keep(opaque, &step, does);
}

/* ---- clusters ---- */

static int take(void *opaque, uint64_t count, uint64_t *offset_bytes, struct qcow2_error *err)
{
	struct q2_repair *repair = opaque;
	struct q2_vector *runs = &repair->bitmap_clusters;
	struct q2_repair_run run = {.count = count};
	struct q2_repair_run *last;
	enum qcow2_error_code code;

	if (q2_space_take(repair, count, offset_bytes)) {
		*err = *repair->err;
		return -1;
	}
	run.first = *offset_bytes >> repair->geometry->cluster_bits;
	last = runs->count > 0 ? q2_vector_at(runs, runs->count - 1) : NULL;
	if (last && last->first + last->count == run.first) {
		last->count += count;
		return 0;
	}
	code = q2_vector_push(runs, &run);
	if (code == QCOW2_ERROR_NONE)
		return 0;
	return code == QCOW2_ERROR_MEMORY
		       ? q2_fail_memory(err)
		       : q2_fail(err, code, QCOW2_NO_OFFSET, "there are too many bitmaps");
}

static bool is_own(const void *opaque, uint64_t cluster)
{
	const struct q2_repair *repair = opaque;
	const struct q2_repair_run *runs = (const void *)repair->bitmap_clusters.data;

	for (size_t i = 0; i < repair->bitmap_clusters.count; i++)
		if (cluster >= runs[i].first && cluster - runs[i].first < runs[i].count)
			return true;
	return false;
}

/* ---- */

/* All problems of bitmaps are left for the reason in the error. */
static void leave_all(struct q2_repair *repair)
{
	const struct qcow2_problem_kind *kind = NULL;

	while ((kind = qcow2_problem_kind_next(kind)))
		if (is_of_bitmaps(kind) && repair->found->by_kind[kind->number] > 0)
			q2_repair_leave(repair, (enum qcow2_problem_id)kind->number, "%s",
					repair->err->text);
}

/*
 * What was planned cannot be proved, since other faults reach into it. Without the bit nobody
 * believes the bitmaps; once the other faults are mended, they are looked at again.
 */
static int distrust_all(struct q2_repair *repair)
{
	const struct qcow2_repair_step step = {
		.kind = qcow2_problem_kind_get(QCOW2_PROBLEM_BITMAPS_INCONSISTENT),
		.where = "header/autoclear_features",
		.does = "takes the bitmaps bit back, as other faults reach into the bitmaps: until "
			"they are mended, nobody can believe them",
	};

	leave_all(repair);
	repair->bitmap_problems = 0;
	if ((repair->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) &&
	    q2_repair_tell(repair, &step))
		return -1;
	repair->bitmaps = repair->bitmaps == Q2_BITMAPS_FIRST ? Q2_BITMAPS_WAIT : Q2_BITMAPS_FAILED;
	return q2_plan_autoclear(repair->plan, QCOW2_PHASE_CLEAN,
				 repair->header->autoclear_features & ~QCOW2_AUTOCLEAR_BITMAPS,
				 "nobody shall believe the bitmaps yet", repair->err);
}

static int run(struct q2_repair *repair, bool costs)
{
	int failed;

	const bool drop = costs && repair->options->drop_bad_bitmaps;
	const struct qcow2_bitmap_repair_options how = {
		.size = sizeof(how),
		.drop_bad = costs,
		.assume_dirty = costs && !drop,
		.tell = hear_treatment,
		.opaque = repair,
	};
	const struct q2_bitmap_within within = {
		.take = take, .is_own = is_own, .mark = hear_mark, .opaque = repair};
	const size_t before = qcow2_plan_count(repair->plan);

	q2_vector_init(&repair->bitmap_steps, 1, STEPS_MOST * STEP_MOST);
	repair->bitmap_steps_count = 0;
	failed = q2_bitmap_repair_within(repair->plan, &how, &within, repair->err);
	/* Bitmaps that are too large for a plan must not keep the disk from being mended. */
	if (failed && repair->err->code == QCOW2_ERROR_LIMIT &&
	    qcow2_plan_count(repair->plan) == before) {
		leave_all(repair);
		failed = 0;
	} else if (failed && repair->err->code == QCOW2_ERROR_BROKEN &&
		   repair->found->by_kind[QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET] > 0 &&
		   qcow2_plan_count(repair->plan) == before) {
		/* No program finds a bitmap there. */
		failed = 0;
	} else if (failed && repair->err->code == QCOW2_ERROR_BROKEN) {
		failed = distrust_all(repair);
	} else if (!failed) {
		failed = tell_kept(repair);
	}
	q2_vector_release(&repair->bitmap_steps);
	/* What else works in this round has not seen what is new. */
	repair->begin_again = qcow2_plan_count(repair->plan) != before;
	return failed ? -1 : 0;
}

static int mend(struct q2_repair *repair)
{
	uint64_t problems = count_problems(repair);
	struct qcow2_bytes data;
	bool costs;

	if (repair->bitmaps == Q2_BITMAPS_WAIT || repair->bitmaps == Q2_BITMAPS_FAILED ||
	    repair->header->version < 3 || problems == 0 || problems == repair->bitmap_problems ||
	    !may_work(repair->options, &costs) ||
	    (!(repair->header->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) &&
	     !qcow2_image_find_extension(repair->image, QCOW2_EXTENSION_BITMAPS, &data)))
		return 0;
	repair->bitmap_problems = problems;
	return run(repair, costs);
}

const struct q2_doctor q2_doctor_bitmaps = {NULL, mend, NULL};
