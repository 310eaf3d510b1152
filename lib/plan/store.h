/* SPDX-License-Identifier: MIT */
/*
 * A log of bytes that a plan keeps: new bytes, reasons, and bytes that it replaces. The first part
 * stays in memory. The rest goes to a temporary file without a name, if there is a folder for one.
 */
#ifndef Q2_PLAN_STORE_H
#define Q2_PLAN_STORE_H

#include <qcow2/source.h>

#define Q2_STORE_CHUNK_BYTES ((size_t)1 << 20)
/* How much stays in memory if the rest can go to a file, and if it cannot. */
#define Q2_STORE_MEMORY_BYTES (UINT64_C(64) << 20)
#define Q2_STORE_ALONE_BYTES  (UINT64_C(1) << 30)

struct q2_store {
	uint8_t **chunks; /* the bytes below memory_most, a chunk each */
	size_t chunk_count, chunk_capacity;
	uint64_t memory_most; /* a multiple of a chunk; the bytes from here on are in the file */
	uint64_t end_bytes;   /* number of bytes that were put */
	char *beside;         /* a path in whose folder the file is made; NULL: there is none */
	struct qcow2_source *file; /* NULL until it is needed */
};

/* Allocates nothing. */
void q2_store_init(struct q2_store *store);
void q2_store_release(struct q2_store *store);

/*
 * Lets an empty store go on in a file in the folder of `beside`, which is copied. Errors:
 * QCOW2_ERROR_MEMORY.
 */
int q2_store_spill_beside(struct q2_store *store, const char *beside, struct qcow2_error *err);

/*
 * Makes the file of an empty store now, before files cannot be made any more. If it cannot be made,
 * the store does without.
 */
void q2_store_open_file(struct q2_store *store);

/*
 * Appends bytes; *at becomes their place in the store. Errors: QCOW2_ERROR_LIMIT (there is no file,
 * and the memory is used up), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_store_put(struct q2_store *store, struct qcow2_bytes bytes, uint64_t *at,
		 struct qcow2_error *err);

/* Copies `size` bytes from place `at` of the store. Errors: QCOW2_ERROR_IO. */
int q2_store_get(const struct q2_store *store, uint64_t at, void *bytes, size_t size,
		 struct qcow2_error *err);

#endif
