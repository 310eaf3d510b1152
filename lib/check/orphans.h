/* SPDX-License-Identifier: MIT */
/*
 * Looks into clusters that nothing refers to: leaked ones, and if asked for those that count as
 * free. Finds those that read as L2 tables of the image.
 */
#ifndef Q2_CHECK_ORPHANS_H
#define Q2_CHECK_ORPHANS_H

#include "check/l2_like.h"

/* A cluster that reads as an L2 table. */
struct q2_orphan {
	uint64_t cluster;
	uint64_t refcount_offset_bytes; /* or QCOW2_NO_OFFSET */
	bool leaked;                    /* else it counts as free */
};

struct q2_orphans {
	struct q2_check *check;
	struct q2_l2_like like;
	bool has_bitmaps;       /* an extension for them, so that tables of some may be there */
	struct q2_bits bitmaps; /* clusters of bitmaps that nobody may use */
	struct q2_bits mapped;  /* clusters that tables which were found lead to */
	struct q2_bits content; /* leaked ones that hold anything else, which no such table maps */
	struct q2_orphan *items;
	size_t count, capacity;
	uint64_t probes;       /* clusters that were read and are no tables */
	uint64_t probed_bytes; /* of them */
	uint64_t with_content; /* leaked ones that are mapped, or hold anything but zeros */
	bool stopped;          /* a bound was reached: not all leaked clusters were read */
};

/*
 * Fills orphans, which is zeros but for its check, in the order of the file. 0, or -1 with
 * check->err filled. q2_orphans_release() in any case.
 */
int q2_orphans_find(struct q2_orphans *orphans);
void q2_orphans_release(struct q2_orphans *orphans);

#endif
