/* SPDX-License-Identifier: MIT */
/* See guest.h. */
#include "image/guest.h"

#include "base/checked.h"

struct q2_guest_range q2_guest_clusters(const struct qcow2_geometry *geometry, uint64_t disk_bytes,
					uint64_t first, uint64_t count)
{
	struct q2_guest_range range = {0, 0};
	uint64_t most;

	if (first >> (64 - geometry->cluster_bits) != 0)
		return range; /* no disk has such bytes */
	range.byte = first << geometry->cluster_bits;
	most = (range.byte < disk_bytes ? disk_bytes : UINT64_MAX) - range.byte;
	if (q2_mul_u64(count, geometry->cluster_size_bytes, &range.length_bytes) ||
	    range.length_bytes > most)
		range.length_bytes = most;
	return range;
}

struct q2_guest_range q2_guest_l1(const struct qcow2_geometry *geometry, uint64_t disk_bytes,
				  uint64_t first, uint64_t count)
{
	uint64_t clusters;

	/* An index of an L1 table has 32 bits, so that first * l2_entries is below 2^60. */
	if (q2_mul_u64(count, geometry->l2_entries, &clusters))
		clusters = Q2_GUEST_REST;
	return q2_guest_clusters(geometry, disk_bytes, first * geometry->l2_entries, clusters);
}

struct q2_guest_range q2_guest_l1_past_end(const struct qcow2_geometry *geometry,
					   uint64_t disk_bytes, uint64_t l1_offset,
					   uint64_t l1_size)
{
	uint64_t stored = 0;

	if (l1_offset < geometry->file_size_bytes)
		stored = q2_div_ceil_u64(geometry->file_size_bytes - l1_offset, sizeof(uint64_t));
	if (stored > l1_size)
		stored = l1_size;
	return q2_guest_l1(geometry, disk_bytes, stored, l1_size - stored);
}
