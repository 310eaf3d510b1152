/* SPDX-License-Identifier: MIT */
/*
 * A repair of bitmaps that is part of a larger one. The larger one hands out clusters, and counts
 * all references when everything is in its place: the bitmaps' part leaves refcounts alone.
 */
#ifndef Q2_EDIT_BITMAP_TRUST_WITHIN_H
#define Q2_EDIT_BITMAP_TRUST_WITHIN_H

#include <qcow2/image.h>
#include <qcow2/problem.h>

struct q2_bitmap_within {
	/* Takes clusters side by side, as q2_allocator_take(). */
	int (*take)(void *opaque, uint64_t count, uint64_t *offset_bytes, struct qcow2_error *err);
	/* Whether a cluster was taken so before: no refcount counts it yet, and nobody else uses it. */
	bool (*is_own)(const void *opaque, uint64_t cluster);
	/*
	 * A bitmap that is left, and whose bits cannot be believed because of its clusters, is marked
	 * as in use: once the larger repair has mended these, nothing else would tell. Not 0 stops.
	 */
	int (*mark)(void *opaque, const struct qcow2_bitmap *bitmap,
		    const struct qcow2_problem_kind *kind);
	void *opaque;
};

#endif
