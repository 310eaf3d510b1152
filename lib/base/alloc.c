/* SPDX-License-Identifier: MIT */
/*
 * Wrappers around the C library's allocator that agree about size 0 and overflow.
 */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>

/* A size of 0 has to give a pointer as well: NULL would look like a failure. */
static size_t at_least_one(size_t size)
{
	return size ? size : 1;
}

void *q2_alloc(size_t size)
{
	return calloc(1, at_least_one(size));
}

void *q2_alloc_buffer(size_t size)
{
	return malloc(at_least_one(size));
}

void *q2_alloc_array(size_t count, size_t element_size)
{
	/* calloc() itself refuses a product that overflows. */
	return calloc(at_least_one(count), at_least_one(element_size));
}

void *q2_realloc_array(void *array, size_t count, size_t element_size)
{
	size_t size;

	if (__builtin_mul_overflow(count, element_size, &size) || size > PTRDIFF_MAX)
		return NULL;
	return realloc(array, at_least_one(size));
}

void q2_free(void *memory)
{
	free(memory);
}
