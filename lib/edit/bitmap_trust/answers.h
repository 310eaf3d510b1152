/* SPDX-License-Identifier: MIT */
/*
 * Questions about bitmaps once trust is gathered. Bitmaps and entries are named by their indexes in
 * the walk of walk.h.
 */
#ifndef Q2_EDIT_BITMAP_TRUST_ANSWERS_H
#define Q2_EDIT_BITMAP_TRUST_ANSWERS_H

#include <qcow2/problem.h>

struct q2_bitmap_trust;

/*
 * Returns the problem for which no bit of a bitmap can be believed; QCOW2_PROBLEM_NONE if its
 * entries have to be asked one by one. QCOW2_PROBLEM_BITMAP_IN_USE is returned only if there is no
 * other reason.
 */
enum qcow2_problem_id q2_trust_whole(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/*
 * Returns the problem for which an entry of a bitmap's table cannot be believed, or
 * QCOW2_PROBLEM_NONE.
 */
enum qcow2_problem_id q2_trust_entry(const struct q2_bitmap_trust *trust, uint64_t bitmap,
				     uint64_t entry);

/* Returns the problem of the first entry that cannot be believed, or QCOW2_PROBLEM_NONE. */
enum qcow2_problem_id q2_trust_any(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Whether some entry of a bitmap has that problem. */
bool q2_trust_has(const struct q2_bitmap_trust *trust, uint64_t bitmap, enum qcow2_problem_id id);

/* Whether the bytes at bitmap_table_offset are this bitmap's table. */
bool q2_trust_table(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Whether another bitmap has the same name. Then one of the two is not what it says. */
bool q2_trust_same_name(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/*
 * Whether clusters of a bitmap have wrong refcounts, or users besides bitmaps: once these are
 * mended, nothing tells any more that its bits cannot be believed.
 */
bool q2_trust_doubtful(const struct q2_bitmap_trust *trust, uint64_t bitmap);

/* Whether only bitmaps are corrupt. */
bool q2_trust_others_sound(const struct q2_bitmap_trust *trust);

/* Whether refcounts are too low, so that a cluster which counts as free may be in use. */
bool q2_trust_refcounts_low(const struct q2_bitmap_trust *trust);

/* Whether something else uses the clusters of the directory: writing there would change that. */
bool q2_trust_directory_is_shared(const struct q2_bitmap_trust *trust);

#endif
