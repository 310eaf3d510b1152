/* SPDX-License-Identifier: MIT */
/* See trust.h. */
#include "repair/refcounts/trust.h"

uint64_t q2_trust_used(const struct q2_clusters *clusters, uint64_t first)
{
	const struct q2_cluster_chunk *chunk;
	const uint64_t *uses;

	if (first >= clusters->cluster_count)
		return 0;
	chunk = q2_clusters_chunk(clusters, first);
	if (!chunk)
		return 0;
	uses = chunk->uses[first / 64 % Q2_CHUNK_GROUPS];
	return uses[0] | uses[1] | uses[2];
}

bool q2_trust_is_lost(const struct q2_clusters *clusters, unsigned refcount_order,
		      const uint8_t *bytes, uint64_t first)
{
	q2_classify classify = q2_classify_choose(refcount_order);
	uint64_t count = Q2_TRUST_BYTES * UINT64_C(8) >> refcount_order;
	uint64_t used = 0, wrong = 0;

	for (uint64_t i = 0; i < count; i += 64) {
		uint64_t bits = q2_trust_used(clusters, first + i);
		struct q2_refcount_classes old;
		const struct q2_cluster_chunk *chunk;

		if (bits == 0)
			continue;
		old = classify(bytes + (i << refcount_order >> 3));
		chunk = q2_clusters_chunk(clusters, first + i);
		used += (uint64_t)__builtin_popcountll(bits);
		/* Where some are used more than once, only what is 0 is known to be wrong. */
		wrong += (uint64_t)__builtin_popcountll(
			bits & (chunk->few || chunk->many ? old.zero : ~old.one));
	}
	return used > 0 && wrong * 2 >= used;
}
