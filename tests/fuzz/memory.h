/* SPDX-License-Identifier: MIT */
/* A file in memory that plans can be applied to, for fuzz targets. */
#ifndef TESTS_FUZZ_MEMORY_H
#define TESTS_FUZZ_MEMORY_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

struct memory {
	uint8_t *bytes;
	size_t size, capacity;
};

static int memory_read(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	const struct memory *memory = opaque;

	if (offset + size > memory->size)
		abort();
	memcpy(buffer, memory->bytes + offset, size);
	return 0;
}

static int memory_resize(void *opaque, uint64_t size)
{
	struct memory *memory = opaque;

	if (size > memory->capacity)
		return EFBIG;
	if (size > memory->size)
		memset(memory->bytes + memory->size, 0, size - memory->size);
	memory->size = (size_t)size;
	return 0;
}

static int memory_write(void *opaque, uint64_t offset, const void *bytes, size_t size)
{
	struct memory *memory = opaque;

	if (offset > memory->capacity || size > memory->capacity - offset)
		return ENOSPC;
	if (offset + size > memory->size)
		memory_resize(memory, offset + size);
	memcpy(memory->bytes + offset, bytes, size);
	return 0;
}

static int memory_sync(void *opaque)
{
	(void)opaque;
	return 0;
}

static inline struct qcow2_source *open_memory(struct memory *memory)
{
	static const struct qcow2_source_ops ops = {.size = sizeof(ops),
						    .read = memory_read,
						    .write = memory_write,
						    .resize = memory_resize,
						    .sync = memory_sync};
	struct qcow2_source *source;

	if (qcow2_source_from_ops(&ops, memory, memory->size, &source, NULL))
		abort();
	return source;
}

/* The file as the plan shows it. */
static inline struct memory expect(struct qcow2_plan *plan)
{
	struct memory shown = {.size = (size_t)qcow2_plan_size_bytes(plan)};
	struct qcow2_source *view;

	shown.bytes = calloc(1, shown.size + 1);
	if (!shown.bytes || qcow2_plan_view(plan, &view, NULL) ||
	    qcow2_source_read(view, 0, shown.bytes, shown.size, NULL))
		abort();
	qcow2_source_close(view);
	return shown;
}

static inline bool same(const struct memory *a, const struct memory *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

#endif
