/* SPDX-License-Identifier: MIT */
/*
 * What can be believed of an image's bitmaps. A bitmap's bits are worth something only if nothing
 * but this bitmap has written to their clusters: a bit that reads as clean in another owner's
 * cluster may have been dirty. So a cluster is believed if its refcount is 1 and nothing else
 * refers to it: no other entry, no other bitmap, no guest data, no other metadata.
 *
 * Bitmaps are taken as a repair finds them (walk.h), including those that the extension does not
 * count. Their indexes are those of that walk.
 */
#ifndef Q2_EDIT_BITMAP_TRUST_TRUST_H
#define Q2_EDIT_BITMAP_TRUST_TRUST_H

#include <qcow2/image.h>
#include <qcow2/problem.h>

struct q2_bitmap_trust;
struct q2_bitmap_within;

/*
 * Looks at all bitmaps of an image, and at all other users of their clusters. Bitmaps that do not
 * fit into memory, as only hostile images have them, are not believed. within: NULL, or
 * whose clusters are not counted yet (within.h). Errors: those of qcow2_check() and qcow2_bitmaps_next(), QCOW2_ERROR_MEMORY.
 */
int q2_bitmap_trust_new(struct qcow2_image *image, const struct q2_bitmap_within *within,
			struct q2_bitmap_trust **out, struct qcow2_error *err);
/* NULL is fine. */
void q2_bitmap_trust_free(struct q2_bitmap_trust *trust);

#endif
