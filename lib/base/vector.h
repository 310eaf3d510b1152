/* SPDX-License-Identifier: MIT */
/*
 * A growable array of elements of one size that never holds more than its cap. Use an element size
 * of 1 for bytes. Pointers to elements are valid until the next push or append.
 */
#ifndef Q2_BASE_VECTOR_H
#define Q2_BASE_VECTOR_H

#include <qcow2/base.h>
#include <qcow2/error.h>

struct q2_vector {
	uint8_t *data;
	size_t count;
	size_t capacity;
	size_t max_count;
	size_t element_size;
};

/* Prepares a vector. Allocates nothing, so that q2_vector_release() may follow at once. */
static inline void q2_vector_init(struct q2_vector *vector, size_t element_size, size_t max_count)
{
	*vector = (struct q2_vector){.element_size = element_size, .max_count = max_count};
}

/* Frees the elements. The vector may be used again, with the same cap. */
void q2_vector_release(struct q2_vector *vector);

/*
 * Appends copies of count elements, or zeros if elements is NULL. Returns QCOW2_ERROR_NONE; or,
 * with the vector unchanged, QCOW2_ERROR_LIMIT (the cap) or QCOW2_ERROR_MEMORY.
 */
enum qcow2_error_code q2_vector_append(struct q2_vector *vector, const void *elements,
				       size_t count);

/* Appends one element. */
static inline enum qcow2_error_code q2_vector_push(struct q2_vector *vector, const void *element)
{
	return q2_vector_append(vector, element, 1);
}

/* Returns the element at index, or NULL past the end. */
static inline void *q2_vector_at(const struct q2_vector *vector, size_t index)
{
	return index < vector->count ? vector->data + index * vector->element_size : NULL;
}

/* Removes all elements. Keeps the memory for new ones. */
static inline void q2_vector_clear(struct q2_vector *vector)
{
	vector->count = 0;
}

#endif
