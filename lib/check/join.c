/* SPDX-License-Identifier: MIT */
/*
 * Puts together what several threads know of the clusters. Parts of the file have nothing in common,
 * so that threads can do this, too.
 */
#include "base/crew.h"
#include "check/tally.h"

/* Of fewer clusters it is not worth to start a thread. */
#define THREADS_FROM_CLUSTERS (UINT64_C(1) << 17)

#define LEAF_PARTS (Q2_LEAF_CHUNKS / Q2_PART_CHUNKS)

struct join {
	struct q2_clusters *const *all;
	unsigned count;
	uint64_t *leaves; /* of leaf_room: the indexes of those that are there */
	uint64_t leaf_count, leaf_room;
};

static bool join_part(void *opaque, unsigned number, uint64_t piece)
{
	const struct join *join = opaque;
	const struct q2_cluster_part part = {join->leaves[piece / LEAF_PARTS],
					     (unsigned)(piece % LEAF_PARTS) * Q2_PART_CHUNKS};
	struct q2_clusters *first = join->all[0];

	(void)number;
	for (unsigned i = 1; i < join->count; i++) {
		q2_clusters_merge(first, join->all[i], part);
		q2_tally_merge(first, join->all[i], part);
	}
	q2_tally_fold(first, part);
	for (unsigned i = 0; i < join->count; i++)
		q2_clusters_fold(first, join->all[i], part);
	return true;
}

/* Makes the leaf that parts write to. Returns whether anybody knows clusters of it. */
static bool prepare_leaf(const struct join *join, uint64_t index)
{
	struct q2_clusters *first = join->all[0];
	bool known = first->leaves[index] != NULL;

	for (unsigned i = 1; i < join->count; i++) {
		const struct q2_cluster_leaf *leaf = join->all[i]->leaves[index];

		known |= leaf != NULL;
		if (leaf && q2_clusters_need_leaf(first, index) && leaf->tallies)
			(void)q2_tally_pages(first, index);
	}
	return known;
}

/* Lists the leaves that are there, which may be few of very many. */
static void list_leaves(struct join *join)
{
	struct q2_clusters *first = join->all[0];
	uint64_t known = 0;

	for (uint64_t i = 0; i < first->leaf_count; i++)
		known += prepare_leaf(join, i);
	join->leaves = q2_memory_get(first->memory, known ? known : 1, sizeof(*join->leaves));
	join->leaf_room = known ? known : 1;
	for (uint64_t i = 0; join->leaves && i < first->leaf_count; i++)
		if (first->leaves[i])
			join->leaves[join->leaf_count++] = i;
	if (!join->leaves)
		first->failed = true;
}

void q2_clusters_join(struct q2_clusters *const *all, unsigned count, unsigned threads)
{
	struct join join = {.all = all, .count = count};

	list_leaves(&join);
	for (unsigned i = 0; i < count; i++)
		if (all[i]->failed)
			all[0]->failed = true;
	if (!all[0]->failed)
		(void)q2_crew_run(&(struct q2_crew_work){
			.pieces = join.leaf_count * LEAF_PARTS,
			.threads = all[0]->cluster_count < THREADS_FROM_CLUSTERS ? 1 : threads,
			.work = join_part,
			.opaque = &join,
		});
	q2_memory_put(all[0]->memory, join.leaves, join.leaf_room, sizeof(*join.leaves));
}
