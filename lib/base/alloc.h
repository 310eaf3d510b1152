/* SPDX-License-Identifier: MIT */
/*
 * The library's only way to the heap. Thin on purpose: tests make the n-th allocation fail by
 * wrapping malloc, calloc and realloc in the linker, so nothing here counts or remembers.
 *
 * All return NULL if memory is short or the size overflows. A size of 0 gives a pointer that is not
 * NULL. The caller bounds the size by what the file could hold.
 */
#ifndef Q2_BASE_ALLOC_H
#define Q2_BASE_ALLOC_H

#include <stddef.h>

/* Allocates zeroed memory, for structs. */
void *q2_alloc(size_t size);

/* Allocates memory that is not zeroed, for buffers that a read fills. */
void *q2_alloc_buffer(size_t size);

/* Allocates an array of count elements, zeroed. */
void *q2_alloc_array(size_t count, size_t element_size);

/*
 * Resizes an array from q2_alloc_array(), or allocates one if array is NULL. New elements are not
 * zeroed. On failure the old array stays as it is.
 */
void *q2_realloc_array(void *array, size_t count, size_t element_size);

/* Frees memory from the functions above. NULL is fine. */
void q2_free(void *memory);

#endif
