/* SPDX-License-Identifier: MIT */
/* What finding L1 tables consists of: roots.c, claims.c and l1.c, of which guess.h knows the last. */
#ifndef Q2_RESCUE_L1_H
#define Q2_RESCUE_L1_H

#include "rescue/guess.h"

/* One cluster of an L1 table leads to an L2 table that maps another one; both by their indexes. */
struct q2_guess_edge {
	size_t from, to;
};

/* ---- roots.c ---- */

/*
 * Fills guess->l1_tables with clusters of L1 tables, in the order of the file, and claims what they
 * lead to. 0, or -1 with *err filled.
 */
int q2_guess_roots(struct q2_guess *guess, struct qcow2_error *err);

/* Counts where the entries of a cluster lead. */
void q2_guess_look_at_l1(const struct q2_guess *guess, const uint8_t *cluster,
			 struct q2_guess_l1 *l1);

/* Adds an L1 table to the list. 0, or -1 with *err filled. */
int q2_guess_keep_l1(struct q2_guess *guess, const struct q2_guess_l1 *l1, struct qcow2_error *err);

/* ---- claims.c ---- */

/* The L1 table in the list that begins at an offset, or NULL. */
struct q2_guess_l1 *q2_guess_l1_at(const struct q2_guess *guess, uint64_t offset);

/*
 * Calls visit for each word of clusters side by side that is not 0, with its index from the first
 * cluster on. 0, or -1 with *err filled.
 */
typedef int (*q2_guess_visitor)(struct q2_guess *guess, uint64_t entry, uint64_t index,
				struct qcow2_error *err);
int q2_guess_visit(struct q2_guess *guess, uint64_t offset, uint64_t clusters,
		   q2_guess_visitor visit, struct qcow2_error *err);

/* A visitor of L1 entries: claims the L2 table and what it leads to. */
int q2_guess_claim_l2(struct q2_guess *guess, uint64_t entry, uint64_t index,
		      struct qcow2_error *err);

/* Claims the header and the refcount structures. */
void q2_guess_claim_refcounts(struct q2_guess *guess);

#endif
