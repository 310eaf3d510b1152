/* SPDX-License-Identifier: MIT */
/* Reads what a kind of file is told by. See probe.h of the public headers. */
#include <qcow2/probe.h>

#include "base/alloc.h"
#include "base/error.h"
#include "format/probe.h"

static size_t up_to(uint64_t size, size_t most)
{
	return size < most ? (size_t)size : most;
}

int qcow2_probe(struct qcow2_source *source, const struct qcow2_file_kind **out,
		struct qcow2_error *err)
{
	uint64_t size = qcow2_source_size_bytes(source);
	struct qcow2_bytes start = {NULL, up_to(size, Q2_PROBE_START_BYTES)};
	struct qcow2_bytes end = {NULL, up_to(size, Q2_PROBE_END_BYTES)};
	uint8_t *buffer = q2_alloc_buffer(start.size + end.size);
	int failed;

	if (!buffer)
		return q2_fail_memory(err);
	start.data = buffer;
	end.data = buffer + start.size;
	failed = qcow2_source_read(source, 0, buffer, start.size, err) ||
		 qcow2_source_read(source, size - end.size, buffer + start.size, end.size, err);
	if (!failed)
		*out = q2_probe_bytes(start, end);
	q2_free(buffer);
	return failed ? -1 : 0;
}
