/* SPDX-License-Identifier: MIT */
/*
 * The one way to the bytes of an image. Every read is checked against the size, charged to the
 * budget and counted here, before a backend sees it.
 */
#include "source/source.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

struct qcow2_source *q2_source_new(const struct q2_source_backend *backend, uint64_t size_bytes,
				   uint64_t allocated_bytes, struct qcow2_error *err)
{
	struct qcow2_source *source = q2_alloc(sizeof(*source));

	if (!source) {
		q2_fail_memory(err);
		return NULL;
	}
	source->backend = backend;
	source->size_bytes = size_bytes;
	source->allocated_bytes = allocated_bytes;
	atomic_init(&source->read_bytes, 0);
	atomic_init(&source->budget_bytes, UINT64_MAX);
	return source;
}

void qcow2_source_close(struct qcow2_source *source)
{
	if (!source)
		return;
	if (source->backend->close)
		source->backend->close(source);
	q2_free(source);
}

uint64_t qcow2_source_size_bytes(const struct qcow2_source *source)
{
	return source->size_bytes;
}

uint64_t qcow2_source_allocated_bytes(const struct qcow2_source *source)
{
	return source->allocated_bytes;
}

uint64_t qcow2_source_hole_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
	if (offset_bytes >= source->size_bytes || !source->backend->hole_end)
		return offset_bytes;
	return source->backend->hole_end(source, offset_bytes);
}

uint64_t qcow2_source_data_end(const struct qcow2_source *source, uint64_t offset_bytes)
{
	if (offset_bytes >= source->size_bytes ||
	    qcow2_source_hole_end(source, offset_bytes) > offset_bytes)
		return offset_bytes;
	if (!source->backend->data_end)
		return source->size_bytes;
	return source->backend->data_end(source, offset_bytes);
}

void qcow2_source_set_budget(struct qcow2_source *source, uint64_t budget_bytes)
{
	atomic_store_explicit(&source->budget_bytes, budget_bytes, memory_order_relaxed);
}

void qcow2_source_set_deadline(struct qcow2_source *source, uint64_t deadline_ns)
{
	atomic_store_explicit(&source->deadline_ns, deadline_ns, memory_order_relaxed);
}

uint64_t q2_source_left_ns(const struct qcow2_source *source)
{
	uint64_t deadline = atomic_load_explicit(&source->deadline_ns, memory_order_relaxed);
	struct timespec now;
	uint64_t now_ns;

	if (deadline == 0 || clock_gettime(CLOCK_MONOTONIC, &now) != 0)
		return UINT64_MAX;
	now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	return now_ns < deadline ? deadline - now_ns : 0;
}

static int fail_late(struct qcow2_error *err, uint64_t offset_bytes)
{
	(void)q2_fail(err, QCOW2_ERROR_IO, offset_bytes, "the time limit is over");
	if (err)
		err->errnum = ETIMEDOUT;
	return -1;
}

uint64_t qcow2_source_read_bytes(const struct qcow2_source *source)
{
	return atomic_load_explicit(&source->read_bytes, memory_order_relaxed);
}

/*
 * Takes size bytes from the budget, all or none, so that threads together never read more than it
 * allows. Relaxed order suffices, as no other memory depends on the counter.
 */
static bool charge(struct qcow2_source *source, uint64_t size)
{
	uint64_t left = atomic_load_explicit(&source->budget_bytes, memory_order_relaxed);

	do {
		if (left == UINT64_MAX)
			return true;
		if (size > left)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&source->budget_bytes, &left, left - size,
							memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

int qcow2_source_read(struct qcow2_source *source, uint64_t offset_bytes, void *buffer, size_t size,
		      struct qcow2_error *err)
{
	int result;

	if (!q2_range_fits(offset_bytes, size, source->size_bytes))
		return q2_fail(err, QCOW2_ERROR_BROKEN, offset_bytes,
			       "%zu bytes at 0x%" PRIx64 " pass the end of the file at 0x%" PRIx64,
			       size, offset_bytes, source->size_bytes);
	if (size == 0)
		return 0;
	if (q2_source_left_ns(source) == 0)
		return fail_late(err, offset_bytes);
	if (!charge(source, size))
		return q2_fail(err, QCOW2_ERROR_LIMIT, offset_bytes,
			       "reading %zu bytes at 0x%" PRIx64 " would pass the read limit", size,
			       offset_bytes);

	result = source->backend->read(source, offset_bytes, buffer, size);
	if (result == Q2_SOURCE_BECAME_SHORTER)
		return q2_fail(err, QCOW2_ERROR_IO, offset_bytes,
			       "cannot read %zu bytes at 0x%" PRIx64 ": the file became shorter",
			       size, offset_bytes);
	if (result != 0)
		return q2_fail_errno(err, result, offset_bytes,
				     "cannot read %zu bytes at 0x%" PRIx64, size, offset_bytes);
	atomic_fetch_add_explicit(&source->read_bytes, size, memory_order_relaxed);
	return 0;
}
