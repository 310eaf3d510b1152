/* SPDX-License-Identifier: MIT */
/* See store.h. */
#include "plan/store.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "source/write.h"

#define FIRST_CAPACITY 16

void q2_store_init(struct q2_store *store)
{
	*store = (struct q2_store){.memory_most = Q2_STORE_ALONE_BYTES};
}

void q2_store_release(struct q2_store *store)
{
	for (size_t i = 0; i < store->chunk_count; i++)
		q2_free(store->chunks[i]);
	q2_free(store->chunks);
	q2_free(store->beside);
	qcow2_source_close(store->file);
	q2_store_init(store);
}

int q2_store_spill_beside(struct q2_store *store, const char *beside, struct qcow2_error *err)
{
	size_t size = strlen(beside) + 1;
	char *copy = q2_alloc_buffer(size);

	if (!copy)
		return q2_fail_memory(err);
	memcpy(copy, beside, size);
	q2_free(store->beside);
	store->beside = copy;
	store->memory_most = Q2_STORE_MEMORY_BYTES;
	return 0;
}

void q2_store_open_file(struct q2_store *store)
{
	struct qcow2_error err;

	if (!store->beside || store->file ||
	    q2_source_create_unnamed(store->beside, &store->file, &err) == 0)
		return;
	store->file = NULL;
	q2_free(store->beside);
	store->beside = NULL;
	store->memory_most = Q2_STORE_ALONE_BYTES;
}

/* Returns the chunk that the next byte goes to; NULL if memory is short. */
static uint8_t *last_chunk(struct q2_store *store)
{
	size_t index = (size_t)(store->end_bytes / Q2_STORE_CHUNK_BYTES);

	if (index < store->chunk_count)
		return store->chunks[index];
	if (store->chunk_count == store->chunk_capacity) {
		size_t capacity =
			store->chunk_capacity ? store->chunk_capacity * 2 : FIRST_CAPACITY;
		void *grown = q2_realloc_array(store->chunks, capacity, sizeof(*store->chunks));

		if (!grown)
			return NULL;
		store->chunks = grown;
		store->chunk_capacity = capacity;
	}
	store->chunks[index] = q2_alloc_buffer(Q2_STORE_CHUNK_BYTES);
	if (store->chunks[index])
		store->chunk_count++;
	return store->chunks[index];
}

/* Stores as much as memory may hold; *bytes becomes the rest. */
static int put_in_memory(struct q2_store *store, struct qcow2_bytes *bytes, struct qcow2_error *err)
{
	while (bytes->size > 0 && store->end_bytes < store->memory_most) {
		size_t at = (size_t)(store->end_bytes % Q2_STORE_CHUNK_BYTES);
		size_t size = Q2_STORE_CHUNK_BYTES - at;
		uint8_t *chunk = last_chunk(store);

		if (!chunk)
			return q2_fail_memory(err);
		if (size > bytes->size)
			size = bytes->size;
		memcpy(chunk + at, bytes->data, size);
		store->end_bytes += size;
		bytes->data += size;
		bytes->size -= size;
	}
	return 0;
}

static int put_in_file(struct q2_store *store, struct qcow2_bytes bytes, struct qcow2_error *err)
{
	if (!store->beside)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the change would hold over %" PRIu64 " bytes in memory",
			       store->memory_most);
	if (!store->file && q2_source_create_unnamed(store->beside, &store->file, err))
		return -1;
	if (q2_source_write(store->file, store->end_bytes - store->memory_most, bytes.data,
			    bytes.size, err))
		return -1;
	store->end_bytes += bytes.size;
	return 0;
}

int q2_store_put(struct q2_store *store, struct qcow2_bytes bytes, uint64_t *at,
		 struct qcow2_error *err)
{
	uint64_t start = store->end_bytes;

	if (put_in_memory(store, &bytes, err) ||
	    (bytes.size > 0 && put_in_file(store, bytes, err))) {
		store->end_bytes = start;
		return -1;
	}
	*at = start;
	return 0;
}

int q2_store_get(const struct q2_store *store, uint64_t at, void *bytes, size_t size,
		 struct qcow2_error *err)
{
	uint8_t *to = bytes;

	while (size > 0 && at < store->memory_most) {
		size_t within = (size_t)(at % Q2_STORE_CHUNK_BYTES);
		size_t part = Q2_STORE_CHUNK_BYTES - within;

		if (part > size)
			part = size;
		memcpy(to, store->chunks[at / Q2_STORE_CHUNK_BYTES] + within, part);
		at += part;
		to += part;
		size -= part;
	}
	return size == 0 ? 0
			 : qcow2_source_read(store->file, at - store->memory_most, to, size, err);
}
