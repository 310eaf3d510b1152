/* SPDX-License-Identifier: MIT */
/*
 * Vectors grow by doubling, and never past their cap.
 */
#include "base/vector.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

#define FIRST_CAPACITY 16

void q2_vector_release(struct q2_vector *vector)
{
	q2_free(vector->data);
	q2_vector_init(vector, vector->element_size, vector->max_count);
}

/* Makes room for `need` elements, at most max_count. */
static bool grow(struct q2_vector *vector, size_t need)
{
	size_t capacity = vector->capacity ? vector->capacity : FIRST_CAPACITY;
	uint8_t *data;

	while (capacity < need && capacity <= vector->max_count / 2)
		capacity *= 2;
	if (capacity < need || capacity > vector->max_count)
		capacity = vector->max_count;
	data = q2_realloc_array(vector->data, capacity, vector->element_size);
	if (!data)
		return false;
	vector->data = data;
	vector->capacity = capacity;
	return true;
}

enum qcow2_error_code q2_vector_append(struct q2_vector *vector, const void *elements, size_t count)
{
	uint8_t *end;

	assert(vector->element_size > 0);
	if (count > vector->max_count - vector->count)
		return QCOW2_ERROR_LIMIT;
	if (count == 0)
		return QCOW2_ERROR_NONE;
	if (count > vector->capacity - vector->count && !grow(vector, vector->count + count))
		return QCOW2_ERROR_MEMORY;

	end = vector->data + vector->count * vector->element_size;
	if (elements)
		memcpy(end, elements, count * vector->element_size);
	else
		memset(end, 0, count * vector->element_size);
	vector->count += count;
	return QCOW2_ERROR_NONE;
}
