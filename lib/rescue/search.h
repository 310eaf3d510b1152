/* SPDX-License-Identifier: MIT */
/* A rescue: the scan, and the candidates in their order. */
#ifndef Q2_RESCUE_SEARCH_H
#define Q2_RESCUE_SEARCH_H

#include "rescue/candidate.h"

#define Q2_CANDIDATES_MOST 16

struct qcow2_rescue {
	struct qcow2_source *source;
	struct qcow2_rescue_options options;
	struct q2_memory memory;
	struct q2_scan scan;
	struct q2_candidate *candidates[Q2_CANDIDATES_MOST];
	size_t count;
	struct qcow2_error *err; /* not NULL while it is opened */
};

/* Finds the candidates of a scan. 0, or -1 with rescue->err filled. */
int q2_search(struct qcow2_rescue *rescue);

/*
 * Checks the image as a candidate would make it, looks for lost tables among tables, which are those
 * of its shape (struct q2_found_table), and says how sure that makes it. 0, or -1 with rescue->err
 * filled.
 */
int q2_judge_candidate(struct qcow2_rescue *rescue, struct q2_candidate *candidate,
		       const struct q2_vector *tables);

/*
 * Makes *kept of the header that the file has, if that obeys the rules and no option contradicts it;
 * else *kept is NULL. The caller owns it. As above.
 */
int q2_keep_header(struct qcow2_rescue *rescue, struct q2_candidate **kept);

/* Whether one candidate explains the file better than another one. */
bool q2_is_better(const struct q2_candidate *candidate, const struct q2_candidate *other);

#endif
