/* SPDX-License-Identifier: MIT */
/* Allocation within the limit of one task, such as a check, shared by its threads. */
#ifndef Q2_BASE_MEMORY_H
#define Q2_BASE_MEMORY_H

#include <qcow2/error.h>
#include <stdatomic.h>

struct q2_memory {
	_Atomic uint64_t used_bytes;
	uint64_t limit_bytes;
	_Atomic bool limited; /* something was refused because of the limit */
	const char *user;     /* who needs the memory, for errors: "the check" */
	struct q2_memory *of; /* of which limit this one is a share, or NULL */
};

/* Says why memory was refused: QCOW2_ERROR_LIMIT or QCOW2_ERROR_MEMORY. Returns -1. */
int q2_memory_fail(const struct q2_memory *memory, struct qcow2_error *err);

/* Takes size from what the limit leaves, for memory that is got elsewhere. False if it says no. */
bool q2_memory_charge(struct q2_memory *memory, uint64_t size);

/* Zeroed. NULL if the limit or the system says no. */
void *q2_memory_get(struct q2_memory *memory, uint64_t count, size_t element_size);

/* Doubles an array of *capacity elements; false leaves it as it was. */
bool q2_memory_grow(struct q2_memory *memory, void **array, size_t *capacity, size_t element_size);

/* Gives back what was got with the same size. NULL is fine. */
void q2_memory_put(struct q2_memory *memory, void *pointer, uint64_t count, size_t element_size);

#endif
