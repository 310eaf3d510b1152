/* SPDX-License-Identifier: MIT */
/* Checks the image as a candidate would make it: see search.h. */
#include "rescue/search.h"

#include <inttypes.h>

#include "base/alloc.h"

#include <qcow2/check.h>
#include <qcow2/image.h>

static int check(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		 struct qcow2_source *view)
{
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = rescue->options.threads,
		.memory_limit_bytes = rescue->options.memory_limit_bytes,
		.clusters_untold = true,
		.lost_mappings = true,
	};
	struct qcow2_image *image;
	int failed;

	if (qcow2_image_open(view, &image, rescue->err))
		return rescue->err->code == QCOW2_ERROR_MEMORY ? -1 : 0;
	failed = qcow2_check(image, &how, &candidate->check, rescue->err);
	qcow2_image_close(image);
	return failed;
}

static uint64_t problems_of(const struct q2_candidate *candidate)
{
	if (!candidate->check)
		return UINT64_MAX;
	return candidate->check->corruptions + candidate->check->leaks;
}

/* How sure a candidate is: by its tables, and no more than what the check leaves of that. */
static unsigned confidence_of(const struct q2_candidate *candidate)
{
	uint64_t problems = problems_of(candidate), right = candidate->public.mapped_clusters + 4;
	unsigned confidence = candidate->structure_confidence, by_check;

	if (!candidate->check)
		return 0;
	by_check =
		problems == 0 ? 99 : (unsigned)(95.0 * (double)right / (double)(right + problems));
	return by_check < confidence ? by_check : confidence;
}

static int say_check(struct qcow2_rescue *rescue, struct q2_candidate *candidate)
{
	const struct qcow2_check_result *result = candidate->check;
	const struct q2_evidence_head head = {QCOW2_RESCUE_CHECK, candidate->public.confidence,
					      false};

	if (!result)
		return q2_evidence_add(candidate, head, rescue->err,
				       "the image could not be opened then");
	if (result->corruptions + result->leaks == 0)
		return q2_evidence_add(candidate, head, rescue->err,
				       "the check finds nothing wrong with the image then");
	return q2_evidence_add(candidate, head, rescue->err,
			       "the check finds %" PRIu64 " corruptions and %" PRIu64
			       " leaks in the image then",
			       result->corruptions, result->leaks);
}

int q2_judge_candidate(struct qcow2_rescue *rescue, struct q2_candidate *candidate)
{
	struct qcow2_source *view = NULL;
	struct qcow2_plan *plan = NULL;
	int failed = qcow2_plan_open(rescue->source, &plan, rescue->err) ||
		     q2_candidate_plan(candidate, plan, rescue->err) ||
		     qcow2_plan_view(plan, &view, rescue->err) || check(rescue, candidate, view);

	qcow2_source_close(view);
	qcow2_plan_close(plan);
	if (failed)
		return -1;
	candidate->public.check = candidate->check;
	candidate->public.confidence = confidence_of(candidate);
	return say_check(rescue, candidate);
}

bool q2_is_better(const struct q2_candidate *candidate, const struct q2_candidate *other)
{
	uint64_t mine = problems_of(candidate), theirs = problems_of(other);

	/* Without refcounts every cluster is a problem: what counts is how much is explained. */
	if (!candidate->has_refcounts || !other->has_refcounts) {
		if (candidate->has_refcounts != other->has_refcounts)
			return candidate->has_refcounts;
		return candidate->mapped_bytes > other->mapped_bytes;
	}
	if (mine != theirs)
		return mine < theirs;
	if (candidate->public.confidence != other->public.confidence)
		return candidate->public.confidence > other->public.confidence;
	return candidate->mapped_bytes > other->mapped_bytes;
}
