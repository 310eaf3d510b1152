/* SPDX-License-Identifier: MIT */
/* See digests.h. */
#include "plan/digests.h"

#include <string.h>

#include "base/error.h"
#include "check/structures.h"

void q2_plan_note_digests(struct qcow2_plan *plan, const struct q2_check_totals *before,
			  const struct q2_check_totals *after)
{
	struct q2_plan_digests *digests = &plan->digests;

	digests->are_current = true;
	digests->is_proved = false;
	digests->has_before = before->sum.has_digest;
	digests->has_after = after->sum.has_digest;
	digests->has_data_file = before->sum.has_data_file || after->sum.has_data_file;
	memcpy(digests->before, before->sum.metadata_digest, sizeof(digests->before));
	memcpy(digests->after, after->sum.metadata_digest, sizeof(digests->after));
}

static void keep(struct q2_check_totals *to, const struct q2_check_totals *from)
{
	*to = *from;
	to->damages = NULL;
	to->damage_count = to->damage_capacity = 0;
}

void q2_plan_note_checks(struct qcow2_plan *plan, const struct q2_check_totals *before,
			 const struct q2_check_totals *after)
{
	struct q2_plan_digests *digests = &plan->digests;
	const struct qcow2_check_result *sum = &after->sum;

	q2_plan_note_digests(plan, before, after);
	if (!before->sum.clusters_checked || !sum->clusters_checked || !sum->has_digest ||
	    sum->corruptions + sum->leaks + sum->warnings > 0)
		return;
	digests->is_proved = true;
	keep(&digests->found_before, before);
	keep(&digests->found_after, after);
}

bool q2_plan_is_proved(const struct qcow2_plan *plan)
{
	return plan->digests.are_current && plan->digests.is_proved;
}

int q2_metadata_digest(struct qcow2_source *source, struct q2_check_totals *totals,
		       struct qcow2_error *err)
{
	const struct qcow2_check_options options = {.digest = true};
	struct qcow2_error why = {.code = QCOW2_ERROR_NONE};
	struct qcow2_image *image = NULL;

	*totals = (struct q2_check_totals){.sum = {.has_digest = false}};
	if (qcow2_image_open(source, &image, &why) || q2_check(image, &options, totals, &why))
		totals->sum.has_digest = false;
	qcow2_image_close(image);
	if (why.code != QCOW2_ERROR_MEMORY && why.code != QCOW2_ERROR_IO)
		return 0;
	if (err)
		*err = why;
	return -1;
}

bool q2_metadata_digests(struct qcow2_source *before, struct qcow2_source *after,
			 uint64_t same_from_bytes, struct q2_check_totals *had,
			 struct q2_check_totals *has)
{
	const struct qcow2_check_options options = {.digest = true};
	struct q2_changed changed = {.after = after, .same_from_bytes = same_from_bytes};
	struct q2_structures structures_before, structures_after;
	struct qcow2_image *image;
	struct qcow2_error ignored;
	bool shares;

	if (qcow2_image_open(before, &image, &ignored))
		return false;
	changed.before = image;
	shares = q2_check_changed(&changed, &options, &structures_after, &shares, &ignored) == 0 &&
		 shares &&
		 q2_check_noting(image, &options, had, &structures_before, &ignored) == 0 &&
		 q2_structures_match(&structures_before, &structures_after);
	if (shares)
		q2_structures_derive(has, had, &structures_before, &structures_after);
	qcow2_image_close(image);
	return shares;
}

/*
 * A source that cannot be read has no digest. A lack of memory is an error: it must not make an
 * undo file without digests.
 */
static int find(struct qcow2_source *source, struct q2_check_totals *totals,
		struct qcow2_error *err)
{
	struct qcow2_error why;

	if (q2_metadata_digest(source, totals, &why) == 0 || why.code == QCOW2_ERROR_IO)
		return 0;
	return q2_fail_memory(err);
}

int q2_plan_find_digests(struct qcow2_plan *plan, struct qcow2_error *err)
{
	struct q2_check_totals before, after;
	struct qcow2_source *view;
	int failed;

	if (plan->digests.are_current)
		return 0;
	if (qcow2_plan_view(plan, &view, err))
		return -1;
	failed = !q2_metadata_digests(plan->source, view, plan->end_bytes, &before, &after) &&
		 (find(plan->source, &before, err) || find(view, &after, err));
	if (!failed)
		q2_plan_note_digests(plan, &before, &after);
	qcow2_source_close(view);
	return failed ? -1 : 0;
}
