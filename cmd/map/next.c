/* SPDX-License-Identifier: MIT */
/* The extents of a run, one after another. See run.h. */
#include "map/run.h"

/* Progress is reported once in 65,536 extents. */
#define PROGRESS_MASK 0xffff

int map_next(struct map_run *run, const struct map_extent **out, struct qcow2_error *err)
{
	const struct map_extent *extent;
	int more = run->out.errnum == 0 ? map_stack_next(&run->stack, out, err) : 0;

	if (more <= 0)
		return more;
	extent = *out;
	if ((++run->shown & PROGRESS_MASK) == 0)
		progress_share(&run->progress, extent->start_bytes, run->stack.end_bytes);
	if (extent->flags & MAP_INVALID) {
		if (run->invalid.extents++ == 0)
			run->first_invalid = *extent;
		run->invalid.bytes += extent->length_bytes;
	}
	return 1;
}
