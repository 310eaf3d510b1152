/* SPDX-License-Identifier: MIT */
/*
 * A source over the caller's own functions.
 */
#include "source/source.h"

#include "base/error.h"

#include <errno.h>

static int ops_read(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		    size_t size)
{
	int errnum = source->caller.ops.read(source->caller.opaque, offset_bytes, buffer, size);

	/* A negative value is a mistake of the caller's, but still no success. */
	return errnum < 0 ? EIO : errnum;
}

static void ops_close(struct qcow2_source *source)
{
	if (source->caller.ops.close)
		source->caller.ops.close(source->caller.opaque);
}

static const struct qcow2_source_backend ops_backend = {.read = ops_read, .close = ops_close};

int qcow2_source_from_ops(const struct qcow2_source_ops *ops, void *opaque, uint64_t size_bytes,
			  struct qcow2_source **out, struct qcow2_error *err)
{
	struct qcow2_source *source;

	if (!ops || !ops->read)
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "a source needs a read function");
	if (size_bytes > INT64_MAX)
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "a source cannot be larger than 2^63 - 1 bytes");
	source = qcow2_source_new(&ops_backend, size_bytes, size_bytes, err);
	if (!source)
		return -1;
	source->caller.ops = *ops;
	source->caller.opaque = opaque;
	*out = source;
	return 0;
}
