/* SPDX-License-Identifier: MIT */
/*
 * Why a selector names nothing. The walk goes once more, with that selector alone. Where the
 * selector stops matching ("at its edge"), the parts of the walk say what is there: names that it
 * could have had, or a reason in words, such as the number of entries of a table. Everywhere else,
 * and in other walks, these calls do nothing.
 */
#ifndef Q2_WALK_LOST_H
#define Q2_WALK_LOST_H

#include "walk/internal.h"

/*
 * Offers a name as one that the selector could have had. Ends the walk when there is no more room.
 */
void q2_walk_offer(struct q2_walk_state *w, const char *name);
/* Offers a step, by its key, name or index. */
void q2_walk_offer_step(struct q2_walk_state *w, const struct q2_step *step);

/* Says that the member `key` of the current place is not there, and why. */
void q2_walk_lost_key(struct q2_walk_state *w, const char *key, const char *why);

/* As q2_walk_lost_key(), of a list that is left out because it has no elements. */
void q2_walk_lost_list(struct q2_walk_state *w, const char *key, const char *why);

/* Says that the list that is begun has no elements. */
void q2_walk_lost_none(struct q2_walk_state *w, const char *why);

/*
 * Says that the list that is begun, of a structure such as "the L1 table", has `claimed` entries,
 * of which the file holds the first `there`.
 */
void q2_walk_lost_rows(struct q2_walk_state *w, const char *structure, uint64_t claimed,
		       uint64_t there);

/*
 * As q2_walk_lost_rows(), for a list of what the entries of a table lead to. entry: such as "L1
 * entry".
 */
void q2_walk_lost_targets(struct q2_walk_state *w, const char *structure, const char *entry,
			  uint64_t count);

/* Says that the image has no bitmaps, if the selector asks for some. */
void q2_walk_lost_bitmaps(struct q2_walk_state *w);

/*
 * Walks with selector s alone, which has named nothing. Returns 0 if it asks for all elements of a
 * list that has none, which is no error; else -1 with w->err filled.
 */
int q2_walk_lost(struct q2_walk_state *w, size_t s, void (*walk)(struct q2_walk_state *));

#endif
