/* SPDX-License-Identifier: MIT */
/*
 * Digests of the metadata of the image before and after a plan. An undo file stores them; they are
 * how an undo recognises the image that the change left.
 */
#ifndef Q2_PLAN_DIGESTS_H
#define Q2_PLAN_DIGESTS_H

#include "check/check.h"
#include "plan/plan.h"

/*
 * Makes plan->digests those of the plan as it is now, with a check before and a check after if
 * qcow2_plan_judge() has not found them already. An image that cannot be checked has no digest,
 * which is no error. Errors: QCOW2_ERROR_MEMORY.
 */
int q2_plan_find_digests(struct qcow2_plan *plan, struct qcow2_error *err);

/* Takes the digests from the results of two checks that were asked for them. */
void q2_plan_note_digests(struct qcow2_plan *plan, const struct q2_check_totals *before,
			  const struct q2_check_totals *after);

/*
 * The same, and keeps what the checks found if the planned image has no problem. Then nobody has to
 * check again until the plan changes; q2_plan_is_proved() says so.
 */
void q2_plan_note_checks(struct qcow2_plan *plan, const struct q2_check_totals *before,
			 const struct q2_check_totals *after);
bool q2_plan_is_proved(const struct qcow2_plan *plan);

/*
 * Checks `source` for its digest. totals->sum.has_digest is false if the source is no image, or one
 * that cannot be checked. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_metadata_digest(struct qcow2_source *source, struct q2_check_totals *totals,
		       struct qcow2_error *err);

/*
 * Finds the digests of an image and of a changed one by one check, if they differ in nothing but the
 * header: from same_from_bytes on, both sources have the same bytes and holes. False if that does
 * not do, for whatever reason; then the digest of each has to be found by itself.
 */
bool q2_metadata_digests(struct qcow2_source *before, struct qcow2_source *after,
			 uint64_t same_from_bytes, struct q2_check_totals *had,
			 struct q2_check_totals *has);

#endif
