/* SPDX-License-Identifier: MIT */
/*
 * What dirty bitmaps of an image say, as ranges in memory: read once when the server starts, and
 * asked by any thread afterwards. A bitmap that may miss writes is refused.
 */
#ifndef NBDKIT_DIRTY_H
#define NBDKIT_DIRTY_H

#include <stdbool.h>

#include <qcow2/image.h>

/* Ranges [edges[0], edges[1]), [edges[2], edges[3]) and so on are dirty. */
struct dirty {
	uint64_t *edges;
	size_t count, room;
};

/*
 * Reads what is dirty in any of the bitmaps.
 *
 * names, count: at least one. most_bytes: what the ranges may take of memory.
 * Returns 0, or -1 with *err filled.
 */
int dirty_read(struct dirty *dirty, const struct qcow2_image *image, char *const *names,
	       size_t count, uint64_t most_bytes, struct qcow2_error *err);

/* Whether a byte of the disk is dirty; *end is set to where that changes, or to UINT64_MAX. */
bool dirty_at(const struct dirty *dirty, uint64_t byte, uint64_t *end);

void dirty_release(struct dirty *dirty);

#endif
