/* SPDX-License-Identifier: MIT */
/* Takes clusters for copies, of which one repair makes no more than a bound. See owners.h. */
#include "repair/owners/owners.h"

int q2_parting_take(struct q2_parting *owners, enum qcow2_problem_id id, uint64_t count,
		    uint64_t *offset_bytes)
{
	uint64_t taken = q2_space_taken_count(owners->repair);
	uint64_t most = Q2_PARTING_COPIES_BYTES >> owners->geometry->cluster_bits;

	*offset_bytes = 0;
	if (taken <= most && count <= most - taken)
		return q2_space_take(owners->repair, count, offset_bytes);
	q2_repair_leave(owners->repair, id,
			"it would take more than 1 GiB of copies: copy the image with qemu-img "
			"convert, which writes each cluster once");
	return 0;
}
