/* SPDX-License-Identifier: MIT */
/* A source that shows a file as a plan will leave it. */
#include <errno.h>

#include "base/error.h"
#include "plan/plan.h"
#include "source/source.h"

static int view_read(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	const struct qcow2_plan *plan = opaque;
	struct qcow2_error err = {.errnum = 0};

	if (q2_plan_read(plan, offset_bytes, buffer, size, &err) == 0)
		return 0;
	return err.errnum ? err.errnum : EIO;
}

/*
 * Returns where a hole of the planned file ends. A write ends it; bytes that the file gains at its
 * end are a hole.
 */
static uint64_t view_hole_end(void *opaque, uint64_t offset_bytes)
{
	const struct qcow2_plan *plan = opaque;
	const struct q2_segment *segment;
	struct q2_segment_at at;
	uint64_t end = offset_bytes < plan->old_size_bytes
			       ? qcow2_source_hole_end(plan->source, offset_bytes)
			       : plan->size_bytes;

	if (end == plan->old_size_bytes && end > offset_bytes && plan->size_bytes > end)
		end = plan->size_bytes;
	segment = q2_segments_find(&plan->planned, offset_bytes, &at);
	if (segment && segment->offset_bytes < end)
		end = segment->offset_bytes > offset_bytes ? segment->offset_bytes : offset_bytes;
	return end;
}

int qcow2_plan_view(struct qcow2_plan *plan, struct qcow2_source **out, struct qcow2_error *err)
{
	static const struct qcow2_source_ops ops = {
		.size = sizeof(ops), .read = view_read, .hole_end = view_hole_end};

	if (qcow2_source_from_ops(&ops, plan, plan->size_bytes, out, err))
		return -1;
	/* The number of stored bytes bounds what readers read of a hostile sparse file. */
	(*out)->allocated_bytes =
		qcow2_source_allocated_bytes(plan->source) + plan->store.end_bytes;
	return 0;
}
