/* SPDX-License-Identifier: MIT */
/* See candidate.h. */
#include "rescue/candidate.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"

#define ZEROS_BYTES ((size_t)1 << 16)

int q2_evidence_add(struct q2_candidate *candidate, struct q2_evidence_head head,
		    struct qcow2_error *err, const char *format, ...)
{
	struct qcow2_rescue_evidence evidence = {
		.size = sizeof(evidence),
		.topic = head.topic,
		.confidence = head.confidence,
		.wants_option = head.wants_option,
	};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(evidence.text, sizeof(evidence.text), format, arguments);
	va_end(arguments);
	if (q2_vector_push(&candidate->evidence, &evidence) == QCOW2_ERROR_MEMORY)
		return q2_fail_memory(err);
	return 0;
}

void q2_candidate_release(struct q2_candidate *candidate)
{
	q2_vector_release(&candidate->evidence);
	q2_free(candidate->evidence_pointers);
	q2_free(candidate->table_pointers);
	q2_lost_release(&candidate->lost);
	q2_free(candidate->area);
	qcow2_check_result_free(candidate->check);
}

/* Makes new tables of zeros, and lets the file end with them. */
static int plan_zeros(const struct q2_candidate *candidate, struct qcow2_plan *plan,
		      struct qcow2_error *err)
{
	if (candidate->new_zeros_bytes == 0 ||
	    qcow2_plan_size_bytes(plan) >= candidate->new_zeros_end_bytes)
		return 0;
	return qcow2_plan_resize(plan, candidate->new_zeros_end_bytes, err);
}

static int plan_area(const struct q2_candidate *candidate, struct qcow2_plan *plan,
		     struct qcow2_error *err)
{
	struct qcow2_bytes area = {candidate->area, candidate->area_bytes};
	size_t size = (size_t)candidate->cluster_size_bytes;
	uint8_t *zeros;
	int failed = 0;

	if (size > qcow2_plan_size_bytes(plan))
		size = (size_t)qcow2_plan_size_bytes(plan);
	if (size > area.size) {
		zeros = q2_alloc(size - area.size);
		if (!zeros)
			return q2_fail_memory(err);
		failed = qcow2_plan_write(plan, QCOW2_PHASE_NEW, area.size,
					  (struct qcow2_bytes){zeros, size - area.size},
					  "clear what followed the header", err);
		q2_free(zeros);
	}
	return failed || qcow2_plan_write(plan, QCOW2_PHASE_POINT, 0, area,
					  "write the header with its extensions", err)
		       ? -1
		       : 0;
}

int q2_candidate_plan(const struct q2_candidate *candidate, struct qcow2_plan *plan,
		      struct qcow2_error *err)
{
	struct qcow2_error ignored;

	if (!candidate->public.changes_header)
		return q2_lost_plan(&candidate->lost, &candidate->header, plan, err);
	if (plan_zeros(candidate, plan, err) || plan_area(candidate, plan, err) ||
	    q2_lost_plan(&candidate->lost, &candidate->header, plan, err))
		return -1;
	/* Names of features are for people: an image without them is whole. */
	if (candidate->feature_names && qcow2_edit_feature_names(plan, &ignored) &&
	    ignored.code != QCOW2_ERROR_LIMIT) {
		if (err)
			*err = ignored;
		return -1;
	}
	return 0;
}
