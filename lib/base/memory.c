/* SPDX-License-Identifier: MIT */
/* See memory.h. */
#include "base/memory.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"

#define FIRST_CAPACITY 64

int q2_memory_fail(const struct q2_memory *memory, struct qcow2_error *err)
{
	if (memory->limited)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "%s needs more than the memory limit of %llu bytes", memory->user,
			       (unsigned long long)memory->limit_bytes);
	return q2_fail_memory(err);
}

/* Gives back what was charged. */
static void discharge(struct q2_memory *memory, uint64_t size)
{
	for (; memory; memory = memory->of)
		atomic_fetch_sub(&memory->used_bytes, size);
}

bool q2_memory_charge(struct q2_memory *memory, uint64_t size)
{
	uint64_t used = atomic_fetch_add(&memory->used_bytes, size);

	if (used <= memory->limit_bytes && size <= memory->limit_bytes - used &&
	    (!memory->of || q2_memory_charge(memory->of, size)))
		return true;
	atomic_fetch_sub(&memory->used_bytes, size);
	atomic_store(&memory->limited, true);
	return false;
}

void *q2_memory_get(struct q2_memory *memory, uint64_t count, size_t element_size)
{
	uint64_t size;
	void *pointer;

	if (q2_mul_u64(count, element_size, &size) || size > SIZE_MAX / 2 ||
	    !q2_memory_charge(memory, size))
		return NULL;
	pointer = q2_alloc_array((size_t)count, element_size);
	if (!pointer)
		discharge(memory, size);
	return pointer;
}

bool q2_memory_grow(struct q2_memory *memory, void **array, size_t *capacity, size_t element_size)
{
	size_t more = *capacity ? *capacity : FIRST_CAPACITY;
	void *grown;

	if (!q2_memory_charge(memory, (uint64_t)more * element_size))
		return false;
	grown = q2_realloc_array(*array, *capacity + more, element_size);
	if (!grown) {
		discharge(memory, (uint64_t)more * element_size);
		return false;
	}
	*array = grown;
	*capacity += more;
	return true;
}

void q2_memory_put(struct q2_memory *memory, void *pointer, uint64_t count, size_t element_size)
{
	if (!pointer)
		return;
	q2_free(pointer);
	discharge(memory, count * element_size);
}
