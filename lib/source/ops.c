/* SPDX-License-Identifier: MIT */
/*
 * A source over the caller's own functions.
 */
#include "source/source.h"

#include "base/error.h"
#include "base/sized.h"

#include <errno.h>

/* The caller should not return negative values; if it does, they count as failures. */
static int as_errnum(int result)
{
	return result < 0 ? EIO : result;
}

static int ops_read(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		    size_t size)
{
	return as_errnum(
		source->caller.ops.read(source->caller.opaque, offset_bytes, buffer, size));
}

static void ops_close(struct qcow2_source *source)
{
	if (source->caller.ops.close)
		source->caller.ops.close(source->caller.opaque);
}

static uint64_t ops_hole_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
	const struct qcow2_source_ops *ops = &source->caller.ops;
	uint64_t end;

	if (!ops->hole_end)
		return offset_bytes;
	end = ops->hole_end(source->caller.opaque, offset_bytes);
	if (end < offset_bytes)
		return offset_bytes;
	return end < source->size_bytes ? end : source->size_bytes;
}

static int ops_write(struct qcow2_source *source, uint64_t offset_bytes, const uint8_t *bytes,
		     size_t size)
{
	return as_errnum(
		source->caller.ops.write(source->caller.opaque, offset_bytes, bytes, size));
}

static int ops_resize(struct qcow2_source *source, uint64_t size_bytes)
{
	return as_errnum(source->caller.ops.resize(source->caller.opaque, size_bytes));
}

static int ops_sync(struct qcow2_source *source)
{
	return as_errnum(source->caller.ops.sync(source->caller.opaque));
}

static const struct q2_source_backend read_backend = {
	.read = ops_read, .hole_end = ops_hole_end, .close = ops_close};

static const struct q2_source_backend edit_backend = {.read = ops_read,
						      .hole_end = ops_hole_end,
						      .close = ops_close,
						      .write = ops_write,
						      .resize = ops_resize,
						      .sync = ops_sync};

int qcow2_source_from_ops(const struct qcow2_source_ops *ops, void *opaque, uint64_t size_bytes,
			  struct qcow2_source **out, struct qcow2_error *err)
{
	struct qcow2_source_ops mine;
	struct qcow2_source *source;

	if (q2_sized_take(&mine, sizeof(mine), ops, err))
		return -1;
	if (!mine.read)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "a source needs a read function");
	if (!mine.write != !mine.resize || !mine.write != !mine.sync)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "a source that is written needs write, resize and sync");
	if (size_bytes > INT64_MAX)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "a source cannot be larger than 2^63 - 1 bytes");
	source = q2_source_new(mine.write ? &edit_backend : &read_backend, size_bytes, size_bytes,
			       err);
	if (!source)
		return -1;
	source->caller.ops = mine;
	source->caller.opaque = opaque;
	*out = source;
	return 0;
}
