/* SPDX-License-Identifier: MIT */
/* Places of a file, in its order: those that a plan changes, and those that it frees. */
#ifndef Q2_PLAN_PLACES_H
#define Q2_PLAN_PLACES_H

#include "plan/plan.h"

/* No place is longer than this, so that two of them fit a buffer. */
#define Q2_PLACE_MOST_BYTES ((uint64_t)1 << 20)

struct q2_place {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint32_t phase; /* of the write that has the last word there */
};

/* Disjoint, in rising order. All zeros: empty. */
struct q2_places {
	struct q2_place *items;
	size_t count, capacity;
};

/*
 * Adds a place that lies behind all others, in pieces of at most Q2_PLACE_MOST_BYTES. If it touches
 * the last place and has its phase, the last place grows first. False if memory is short.
 */
bool q2_places_add(struct q2_places *places, const struct q2_place *place);
void q2_places_release(struct q2_places *places);

/*
 * Finds all places that a plan changes, those that it cuts off at the end of the file included. The
 * phase of a place is the one whose write leaves the final bytes: an undo goes back phase by phase.
 * The caller releases *places. Errors: QCOW2_ERROR_MEMORY.
 */
int q2_plan_places(const struct qcow2_plan *plan, struct q2_places *places,
		   struct qcow2_error *err);

#endif
