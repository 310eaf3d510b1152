/* SPDX-License-Identifier: MIT */
/* Extents in batches: one crossing between the languages for many of them. See streams.h. */
#include "streams.h"

int binding_mapping_take(struct qcow2_mapping *mapping, struct binding_extent *out, size_t most,
			 size_t *count, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	int more = 0;

	*count = 0;
	while (*count < most && (more = qcow2_mapping_next(mapping, &extent, err)) > 0)
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
	int more = 0;

	*count = 0;
	while (*count < most && (more = qcow2_disk_extents_next(extents, &extent, err)) > 0)
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
