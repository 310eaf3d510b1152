/* SPDX-License-Identifier: MIT */
/* STUB: behind the end of the file. */
#include "repair/space.h"

#include "base/alloc.h"
#include "base/error.h"
#include "repair/repair.h"

struct q2_space {
	uint64_t next_cluster, taken;
};

int q2_space_take(struct q2_repair *repair, uint64_t count, uint64_t *offset_bytes)
{
	unsigned bits = repair->geometry->cluster_bits;

	if (!repair->space) {
		repair->space = q2_alloc(sizeof(*repair->space));
		if (!repair->space)
			return q2_fail_memory(repair->err);
		repair->space->next_cluster = (qcow2_plan_size_bytes(repair->plan) +
					       repair->geometry->cluster_size_bytes - 1) >>
					      bits;
	}
	*offset_bytes = repair->space->next_cluster << bits;
	repair->space->next_cluster += count;
	repair->space->taken += count;
	return 0;
}

uint64_t q2_space_taken_count(const struct q2_repair *repair)
{
	return repair->space ? repair->space->taken : 0;
}

void q2_space_close(struct q2_repair *repair)
{
	q2_free(repair->space);
	repair->space = NULL;
}
