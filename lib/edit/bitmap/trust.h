/* SPDX-License-Identifier: MIT */
/*
 * What is to be believed of an image's bitmaps. A bitmap's bits are worth something only if nothing
 * but this bitmap has written to the clusters that hold them: a bit that reads as clean in somebody
 * else's cluster may have been dirty. So a cluster is believed if its refcount is 1 and nothing
 * else refers to it: no other entry, no other bitmap, no guest, no other metadata.
 *
 * Bitmaps are looked at as a repair finds them (bitmap_walk.h), also those that the extension does
 * not count. Their indexes are those of that walk.
 */
#ifndef Q2_EDIT_BITMAP_TRUST_H
#define Q2_EDIT_BITMAP_TRUST_H

#include <qcow2/image.h>
#include <qcow2/problem.h>

struct q2_bitmap_trust;

/*
 * Looks at all bitmaps of an image, and at who else uses their clusters. What does not fit into
 * memory, as only hostile images have it, is not believed. Errors: those of qcow2_check() and
 * qcow2_bitmaps_next(), QCOW2_ERROR_MEMORY.
 */
int q2_bitmap_trust_new(struct qcow2_image *image, struct q2_bitmap_trust **out,
			struct qcow2_error *err);
/* NULL is fine. */
void q2_bitmap_trust_free(struct q2_bitmap_trust *trust);

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
