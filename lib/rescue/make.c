/* SPDX-License-Identifier: MIT */
/* Makes a candidate of a guess, step by step: see candidate.h. */
#include "rescue/candidate.h"

int q2_candidate_make(struct q2_candidate *candidate, struct q2_guess *guess,
		      struct qcow2_error *err)
{
	struct q2_deciding deciding = {
		.guess = guess, .options = guess->options, .candidate = candidate, .err = err};
	int failed;

	q2_vector_init(&candidate->evidence, sizeof(struct qcow2_rescue_evidence),
		       Q2_EVIDENCE_MOST);
	candidate->public.size = sizeof(candidate->public);
	candidate->public.header = &candidate->header;
	candidate->public.changes_header = true;
	candidate->public.mapped_clusters = guess->mapped_clusters;
	candidate->cluster_size_bytes = UINT64_C(1) << guess->shape.cluster_bits;
	candidate->mapped_bytes = guess->mapped_clusters << guess->shape.cluster_bits;
	candidate->has_refcounts = guess->refcounts.table_bytes != 0;
	failed = q2_remains_read(&deciding.remains, guess, err) || q2_decide_numbers(&deciding) ||
		 q2_decide_backing(&deciding) || q2_decide_size(&deciding) ||
		 q2_decide_area(&deciding);
	q2_remains_release(&deciding.remains);
	return failed ? -1 : 0;
}
