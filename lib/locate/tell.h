/* SPDX-License-Identifier: MIT */
/* The owners of one cluster: picks them from what was gathered, and tells each reference. */
#ifndef Q2_LOCATE_TELL_H
#define Q2_LOCATE_TELL_H

#include "locate/owners.h"

/* The claims of some bytes of a cluster: wide ones, then others by their places. */
struct q2_owner_list {
	const struct q2_kept **items;
	size_t count, capacity;
	uint64_t total; /* references, those that are not kept included */
	bool unclaimed; /* all of them claim other bytes of the cluster */
};

/*
 * Fills the list for the bytes [first, last] of one cluster: with the claims of any of them, or else
 * of other bytes of the cluster. Returns 0, or -1 with *err filled.
 */
int q2_owner_list_fill(struct q2_owners *owners, uint64_t first, uint64_t last,
		       struct q2_owner_list *list, struct qcow2_error *err);
void q2_owner_list_release(struct q2_owner_list *list);

/* Whether the same claims touch two clusters. */
bool q2_owner_list_same(const struct q2_owner_list *a, const struct q2_owner_list *b);

/* Claims of one reference each, and pointers to them. */
struct q2_told_claims {
	struct qcow2_claim *claims;
	struct qcow2_claim **pointers;
	size_t count, capacity;
};

/*
 * Makes the claims of a piece, of which start and length_bytes are set. Returns 0, or -1 with *err
 * filled.
 */
int q2_told_claims_make(struct q2_owners *owners, const struct q2_owner_list *list,
			const struct qcow2_piece *piece, struct q2_told_claims *told,
			struct qcow2_error *err);
void q2_told_claims_release(struct q2_told_claims *told);

#endif
