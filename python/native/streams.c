/* SPDX-License-Identifier: MIT */
/* Extents in batches: one crossing between the languages for many of them. See streams.h. */
#include <time.h>

#include "streams.h"

/* How long a batch is gathered: who iterates sees the first extents soon, whatever reads cost. */
#define GATHERING_NS 50000000L

static bool enough(const struct timespec *since, size_t count)
{
	struct timespec now;

	/* Most extents cost less than asking for the time. */
	if (count == 0 || count % 8 != 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000000000L + now.tv_nsec - since->tv_nsec >
	       GATHERING_NS;
}

int binding_mapping_take(struct qcow2_mapping *mapping, struct binding_extent *out, size_t most,
			 size_t *count, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	struct timespec since;
	int more = 0;

	*count = 0;
	clock_gettime(CLOCK_MONOTONIC, &since);
	while (*count < most && !enough(&since, *count) &&
	       (more = qcow2_mapping_next(mapping, &extent, err)) > 0)
		out[(*count)++] = (struct binding_extent){
			.start_bytes = extent->start.byte,
			.length_bytes = extent->length_bytes,
			.host_bytes = extent->host.byte,
			.host_length_bytes = extent->host_bytes,
			.kind = (int)extent->kind,
			.problem = (int)extent->problem,
		};
	/* A further call fails at the same place. */
	return *count > 0 ? 1 : more;
}

int binding_disk_take(struct qcow2_disk_extents *extents, struct binding_disk_extent *out,
		      size_t most, size_t *count, struct qcow2_error *err)
{
	const struct qcow2_disk_extent *extent;
	struct timespec since;
	int more = 0;

	*count = 0;
	clock_gettime(CLOCK_MONOTONIC, &since);
	while (*count < most && !enough(&since, *count) &&
	       (more = qcow2_disk_extents_next(extents, &extent, err)) > 0)
		out[(*count)++] = (struct binding_disk_extent){
			.start_bytes = extent->start.byte,
			.length_bytes = extent->length_bytes,
			.host_bytes = extent->host.byte,
			.kind = (int)extent->kind,
			.problem = (int)extent->problem,
			.depth = extent->depth,
			.compressed = extent->compressed,
			.encrypted = extent->encrypted,
			.has_source = extent->source != NULL,
		};
	return *count > 0 ? 1 : more;
}
