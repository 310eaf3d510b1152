/* SPDX-License-Identifier: MIT */
/* Counts compressed clusters, whose data lie one behind the other, several in a host cluster. */
#include "check/l2_going.h"

#include <qcow2/limits.h>

/* Compressed clusters that touch the same host cluster, which is counted once they have passed it. */
struct touched {
	uint64_t cluster, times;
};

static void count_touched(const struct q2_l2_going *g, struct touched *touched)
{
	if (touched->times > 0)
		q2_clusters_mark(&g->worker->clusters, touched->cluster, 1, QCOW2_USE_COMPRESSED,
				 touched->times * g->ref->weight);
	touched->times = 0;
}

static void touch(const struct q2_l2_going *g, struct touched *touched, uint64_t cluster)
{
	if (cluster != touched->cluster)
		count_touched(g, touched);
	touched->cluster = cluster;
	touched->times++;
}

/*
 * Whether the entry of a compressed cluster breaks no rule: it has no copied flag, and its bytes
 * end inside the file. Of other entries, that is left to the rules.
 */
static bool is_plain_compressed(const struct q2_l2_going *g, uint64_t index, uint64_t entry,
				const struct qcow2_compressed_extent *extent)
{
	return !(entry & Q2_L2_COPIED) && !g->geometry->data_file &&
	       extent->offset_bytes >> QCOW2_LIMIT_HOST_OFFSET_BITS == 0 &&
	       extent->offset_bytes + extent->length_bytes <= g->geometry->file_size_bytes &&
	       q2_l2_going_subclusters(g, index) == 0;
}

/*
 * Counts compressed clusters from index on, which most often lie one behind the other, several in a
 * host cluster. Returns the index of the first entry that it leaves to others.
 */
uint64_t q2_l2_visit_compressed(struct q2_l2_going *g, uint64_t index)
{
	const unsigned bits = g->geometry->cluster_bits;
	struct touched touched = {0};
	uint64_t at = index;

	for (; at < g->entries; at++) {
		uint64_t entry = q2_l2_going_entry(g, at), first, last;
		struct qcow2_compressed_extent extent;

		if (!qcow2_l2_is_compressed(entry))
			break;
		extent = qcow2_compressed_split(entry, bits);
		if (!is_plain_compressed(g, at, entry, &extent))
			break;
		first = extent.offset_bytes >> bits;
		last = (extent.offset_bytes + extent.length_bytes - 1) >> bits;
		touch(g, &touched, first);
		for (uint64_t cluster = first + 1; cluster <= last; cluster++)
			touch(g, &touched, cluster);
	}
	count_touched(g, &touched);
	g->worker->allocated += (at - index) * g->ref->active;
	g->worker->fragmented += (at - index) * g->ref->active;
	g->worker->compressed += (at - index) * g->ref->active;
	return at;
}
