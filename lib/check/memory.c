/* SPDX-License-Identifier: MIT */
/* See memory.h. */
#include "check/memory.h"

#include "base/alloc.h"
#include "base/checked.h"

#define FIRST_CAPACITY 64

bool qcow2_memory_charge(struct qcow2_memory *memory, uint64_t size)
{
	uint64_t used = atomic_fetch_add(&memory->used_bytes, size);

	if (used <= memory->limit_bytes && size <= memory->limit_bytes - used)
		return true;
	atomic_fetch_sub(&memory->used_bytes, size);
	atomic_store(&memory->limited, true);
	return false;
}

void *qcow2_memory_get(struct qcow2_memory *memory, uint64_t count, size_t element_size)
{
	uint64_t size;
	void *pointer;

	if (qcow2_mul_u64(count, element_size, &size) || size > SIZE_MAX / 2 ||
	    !qcow2_memory_charge(memory, size))
		return NULL;
	pointer = qcow2_alloc_array((size_t)count, element_size);
	if (!pointer)
		atomic_fetch_sub(&memory->used_bytes, size);
	return pointer;
}

bool qcow2_memory_grow(struct qcow2_memory *memory, void **array, size_t *capacity,
		       size_t element_size)
{
	size_t more = *capacity ? *capacity : FIRST_CAPACITY;
	void *grown;

	if (!qcow2_memory_charge(memory, (uint64_t)more * element_size))
		return false;
	grown = qcow2_realloc_array(*array, *capacity + more, element_size);
	if (!grown) {
		atomic_fetch_sub(&memory->used_bytes, (uint64_t)more * element_size);
		return false;
	}
	*array = grown;
	*capacity += more;
	return true;
}

void qcow2_memory_put(struct qcow2_memory *memory, void *pointer, uint64_t count,
		      size_t element_size)
{
	if (!pointer)
		return;
	qcow2_free(pointer);
	atomic_fetch_sub(&memory->used_bytes, count * element_size);
}
