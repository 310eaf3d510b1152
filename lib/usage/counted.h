/* SPDX-License-Identifier: MIT */
/*
 * Which clusters of the file have a refcount that is not 0 ("Host cluster management"): one bit for
 * each cluster, from the refcount blocks. Blocks at one place are read and kept once, so that the
 * bits of a file take an eighth of what its refcount blocks take at most.
 */
#ifndef Q2_USAGE_COUNTED_H
#define Q2_USAGE_COUNTED_H

#include "base/memory.h"

#include <qcow2/image.h>

/* A refcount block that the refcount table leads to. */
struct q2_counted_block {
	uint64_t offset_bytes; /* of whole clusters, inside the file */
	uint64_t index;        /* in the refcount table */
	/* Its number in the order of their places. Q2_NO_PLACE: all are 0, or count as that. */
	size_t place;
};

#define Q2_NO_PLACE SIZE_MAX

struct q2_counted {
	struct q2_memory *memory;
	uint64_t block_entries;
	struct q2_counted_block *blocks; /* in the order of their indexes */
	size_t count, capacity;
	uint64_t *words; /* of all places, one behind the other */
	uint64_t words_of_block;
	size_t places;
};

void q2_counted_init(struct q2_counted *counted, const struct qcow2_geometry *geometry,
		     struct q2_memory *memory);
void q2_counted_release(struct q2_counted *counted);

/* Adds a block. Indexes rise. False if memory is short. */
bool q2_counted_add(struct q2_counted *counted, uint64_t index, uint64_t offset_bytes);

/*
 * Reads all blocks with so many threads; call it once. Returns 0, or -1 with *err filled.
 */
int q2_counted_read(struct q2_counted *counted, const struct qcow2_image *image, unsigned threads,
		    struct qcow2_error *err);

/*
 * *is_counted says whether the refcount of a cluster is not 0. Returns for how many clusters from
 * there on, at most `most`, that is the same; there may be more of them.
 */
uint64_t q2_counted_run(const struct q2_counted *counted, uint64_t cluster, uint64_t most,
			bool *is_counted);

#endif
