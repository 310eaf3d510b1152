/* SPDX-License-Identifier: MIT */
/*
 * Questions about bitmaps once trust is gathered. Bitmaps and entries are named by their indexes in
 * the walk of walk.h.
 */
#ifndef Q2_EDIT_BITMAP_TRUST_ANSWERS_H
#define Q2_EDIT_BITMAP_TRUST_ANSWERS_H

#include "edit/bitmap_trust/trust.h"

/*
 * Why nothing that a bitmap says can be believed; QCOW2_PROBLEM_NONE if its entries are to be
 * asked one by one. QCOW2_PROBLEM_BITMAP_IN_USE is said only if there is no other reason.
 */
enum qcow2_problem_id q2_trust_whole(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Why an entry of a bitmap's table cannot be believed, or QCOW2_PROBLEM_NONE. */
enum qcow2_problem_id q2_trust_entry(const struct q2_bitmap_trust *trust, uint64_t bitmap,
				     uint64_t entry);

/* The reason of the first entry of a bitmap that cannot be believed, or QCOW2_PROBLEM_NONE. */
enum qcow2_problem_id q2_trust_any(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Whether some entry of a bitmap cannot be believed for that reason. */
bool q2_trust_has(const struct q2_bitmap_trust *trust, uint64_t bitmap, enum qcow2_problem_id id);

/* Whether what stands where a bitmap's table is said to be is this table. */
bool q2_trust_table(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Whether another bitmap has the same name: one of them is not what it says. */
bool q2_trust_same_name(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Whether nothing is corrupt but bitmaps. */
bool q2_trust_others_sound(const struct q2_bitmap_trust *trust);

/* Whether clusters that refcounts call free may be in use. */
bool q2_trust_refcounts_low(const struct q2_bitmap_trust *trust);

#endif
