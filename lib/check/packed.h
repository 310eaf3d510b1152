/* SPDX-License-Identifier: MIT */
/*
 * What clusters.h knows of host clusters, to be kept and not changed any more. Clusters in a row of
 * which the same is known take 8 bytes together, where that is less than what each takes by itself.
 */
#ifndef Q2_CHECK_PACKED_H
#define Q2_CHECK_PACKED_H

#include "check/clusters.h"

struct q2_packed_chunk;

struct q2_packed {
	struct q2_memory *memory;
	struct q2_packed_chunk ***leaves; /* of Q2_LEAF_CHUNKS pointers each; NULL: not packed */
	uint64_t leaf_count;
	uint64_t cluster_count;
};

/*
 * Packs clusters, which are empty then, into memory of the same account. False if memory is short:
 * then what is known is lost.
 */
bool q2_packed_take(struct q2_packed *packed, struct q2_clusters *clusters);
void q2_packed_release(struct q2_packed *packed);

/* All that is known of a cluster below cluster_count. */
struct q2_cluster_state q2_packed_get(const struct q2_packed *packed, uint64_t cluster);

#endif
