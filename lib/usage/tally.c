/* SPDX-License-Identifier: MIT */
/*
 * Counts the clusters and L2 tables that ranges of a disk need in a new image. It is here because the
 * survey of a disk counts them as well; lib/measure/ stands on this room.
 */
#include "base/checked.h"

#include <qcow2/measure.h>

void qcow2_measure_tally_add(struct qcow2_measure_tally *tally, uint64_t start_bytes,
			     uint64_t length_bytes)
{
	uint64_t first = start_bytes >> tally->cluster_bits;
	uint64_t last, end_bytes;

	if (length_bytes == 0)
		return;
	if (q2_add_u64(start_bytes, length_bytes - 1, &end_bytes))
		end_bytes = UINT64_MAX;
	last = end_bytes >> tally->cluster_bits;
	if (last < tally->next_cluster)
		return;
	if (first < tally->next_cluster)
		first = tally->next_cluster;
	tally->data_clusters += last - first + 1;
	tally->l2_tables += (last >> tally->l2_bits) - (first >> tally->l2_bits) + 1;
	/* The table that maps the first cluster may be counted already. */
	if (tally->next_cluster > 0 &&
	    (tally->next_cluster - 1) >> tally->l2_bits == first >> tally->l2_bits)
		tally->l2_tables--;
	tally->next_cluster = last + 1;
}
