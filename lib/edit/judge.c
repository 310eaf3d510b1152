/* SPDX-License-Identifier: MIT */
/* Whether a plan would leave an image with problems that it has not now. */
#include "base/error.h"
#include "edit/plan.h"

/* What is heard of the planned image. */
struct hearing {
	struct qcow2_plan_verdict *verdict;
	void (*problem)(void *opaque, const struct qcow2_problem *problem);
	void *opaque;
};

static void hear(void *opaque, const struct qcow2_problem *problem)
{
	const struct hearing *hearing = opaque;
	size_t count, id = (size_t)(problem->kind - qcow2_problem_kinds(&count));

	if (hearing->verdict->after.by_kind[id] > hearing->verdict->before.by_kind[id])
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

static void compare(struct qcow2_plan_verdict *verdict, bool opened_after)
{
	verdict->adds_problems = verdict->opened_before && !opened_after;
	for (size_t i = 0; opened_after && i < QCOW2_PROBLEM_COUNT; i++)
		if (verdict->after.by_kind[i] > verdict->before.by_kind[i])
			verdict->adds_problems = true;
}

static int judge(struct qcow2_plan *plan, struct qcow2_source *view,
		 struct qcow2_plan_verdict *verdict, struct hearing *hearing,
		 struct qcow2_error *err)
{
	const struct qcow2_check_options tell = {
		.max_per_kind = 5, .problem = hear, .opaque = hearing};

	struct qcow2_check_result again;
	bool opened;

	if (check_source(view, NULL, &verdict->after, &opened, err))
		return -1;
	if (!opened)
		verdict->not_opened = *err;
	if (check_source(plan->source, NULL, &verdict->before, &verdict->opened_before, err))
		return -1;
	compare(verdict, opened);
	if (!verdict->adds_problems || !opened || !hearing->problem)
		return 0;
	return check_source(view, &tell, &again, &opened, err);
}

int qcow2_plan_judge(struct qcow2_plan *plan, struct qcow2_plan_verdict *verdict,
		     void (*problem)(void *opaque, const struct qcow2_problem *problem),
		     void *opaque, struct qcow2_error *err)
{
	struct hearing hearing = {verdict, problem, opaque};
	struct qcow2_error ignored;
	struct qcow2_source *view;
	int failed;

	*verdict = (struct qcow2_plan_verdict){.not_opened = {.code = QCOW2_ERROR_NONE}};
	if (qcow2_plan_view(plan, &view, err))
		return -1;
	failed = judge(plan, view, verdict, &hearing, err ? err : &ignored);
	qcow2_source_close(view);
	return failed;
}
