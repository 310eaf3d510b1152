/* SPDX-License-Identifier: MIT */
/*
 * Judges clusters: compares refcounts that the file has with the references that were counted, 64
 * clusters at a step, and notes those that are wrong. The copied flag is judged here, too: an
 * active entry must have it if and only if the refcount is 1 ("Cluster mapping").
 */
#ifndef Q2_CHECK_JUDGE_H
#define Q2_CHECK_JUDGE_H

#include "check/classify.h"
#include "check/run.h"

/* Compares with what worker 0 has counted, and notes in worker what is wrong. */
struct q2_judge {
	const struct q2_check *check;
	struct q2_worker *worker;
	q2_classify classify;
};

/* All clusters that a refcount block counts, whose bytes are padded to a cluster. */
void q2_judge_block(const struct q2_judge *judge, const struct q2_refcount_block *block,
		    const uint8_t *bytes);

/*
 * Of 64 clusters from cluster on, those whose bits in `seen` are set: something refers to them, but
 * no block counts them, so that their refcounts are 0.
 */
void q2_judge_uncounted(const struct q2_judge *judge, uint64_t cluster, uint64_t seen);

#endif
