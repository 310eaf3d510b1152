/* SPDX-License-Identifier: MIT */
/* See plan_index.h. */
#include "edit/plan_index.h"

#include <string.h>

#include "base/alloc.h"
#include "edit/plan.h"

#define FIRST_CAPACITY 4

static struct qcow2_plan_bucket *bucket_of(const struct qcow2_plan_bucket *buckets, uint64_t piece)
{
	return (struct qcow2_plan_bucket *)(uintptr_t)&buckets[piece % QCOW2_PLAN_BUCKETS];
}

/* Whether one write is made before another. */
static bool is_before(const struct qcow2_planned_write *a, const struct qcow2_planned_write *b)
{
	return a->phase != b->phase ? a->phase < b->phase : a->number < b->number;
}

static bool add_to(struct qcow2_plan_bucket *bucket, struct qcow2_planned_write *write)
{
	size_t capacity = bucket->capacity ? bucket->capacity * 2 : FIRST_CAPACITY;
	size_t at = bucket->count;

	/* A write of many pieces comes to each bucket once. */
	for (size_t i = bucket->count; i-- > 0 && !is_before(bucket->writes[i], write);)
		if (bucket->writes[i] == write)
			return true;
	if (bucket->count == bucket->capacity) {
		void *grown = qcow2_realloc_array(bucket->writes, capacity, sizeof(write));

		if (!grown)
			return false;
		bucket->writes = grown;
		bucket->capacity = capacity;
	}
	for (; at > 0 && is_before(write, bucket->writes[at - 1]); at--)
		bucket->writes[at] = bucket->writes[at - 1];
	bucket->writes[at] = write;
	bucket->count++;
	return true;
}

bool qcow2_plan_index_add(struct qcow2_plan_bucket *buckets, struct qcow2_planned_write *write)
{
	uint64_t first = write->offset_bytes / QCOW2_PLAN_PIECE_BYTES;
	uint64_t last = (write->offset_bytes + write->size - 1) / QCOW2_PLAN_PIECE_BYTES;

	if (last - first >= QCOW2_PLAN_BUCKETS)
		last = first + QCOW2_PLAN_BUCKETS - 1;
	for (uint64_t piece = first; piece <= last; piece++)
		if (!add_to(bucket_of(buckets, piece), write))
			return false;
	return true;
}

void qcow2_plan_index_remove(struct qcow2_plan_bucket *buckets,
			     const struct qcow2_planned_write *write)
{
	for (size_t b = 0; b < QCOW2_PLAN_BUCKETS; b++) {
		struct qcow2_plan_bucket *bucket = &buckets[b];
		size_t kept = 0;

		for (size_t i = 0; i < bucket->count; i++)
			if (bucket->writes[i] != write)
				bucket->writes[kept++] = bucket->writes[i];
		bucket->count = kept;
	}
}

void qcow2_plan_index_release(struct qcow2_plan_bucket *buckets)
{
	for (size_t i = 0; i < QCOW2_PLAN_BUCKETS; i++)
		qcow2_free(buckets[i].writes);
}

/* Lays a write over what was read from [offset, offset + size). */
static void lay_over(const struct qcow2_planned_write *write, uint64_t offset, uint8_t *bytes,
		     size_t size)
{
	uint64_t first = write->offset_bytes > offset ? write->offset_bytes : offset;
	uint64_t end = write->offset_bytes + write->size;

	if (end > offset + size)
		end = offset + size;
	if (first < end)
		memcpy(bytes + (first - offset), write->bytes + (first - write->offset_bytes),
		       (size_t)(end - first));
}

void qcow2_plan_index_lay_over(const struct qcow2_plan_bucket *buckets,
			       const struct qcow2_planned_write *last, uint64_t offset,
			       uint8_t *bytes, size_t size)
{
	while (size > 0) {
		uint64_t piece = offset / QCOW2_PLAN_PIECE_BYTES;
		const struct qcow2_plan_bucket *bucket = bucket_of(buckets, piece);
		size_t part = (size_t)((piece + 1) * QCOW2_PLAN_PIECE_BYTES - offset);

		if (part > size)
			part = size;
		for (size_t i = 0; i < bucket->count; i++) {
			if (last && !is_before(bucket->writes[i], last))
				break;
			lay_over(bucket->writes[i], offset, bytes, part);
		}
		offset += part;
		bytes += part;
		size -= part;
	}
}

uint64_t qcow2_plan_index_next(const struct qcow2_plan_bucket *buckets, uint64_t offset,
			       uint64_t end)
{
	uint64_t pieces = 0;

	/* Once around, every write has been looked at. */
	for (uint64_t piece = offset / QCOW2_PLAN_PIECE_BYTES;
	     pieces < QCOW2_PLAN_BUCKETS && piece * QCOW2_PLAN_PIECE_BYTES < end;
	     piece++, pieces++) {
		const struct qcow2_plan_bucket *bucket = bucket_of(buckets, piece);

		for (size_t i = 0; i < bucket->count; i++) {
			const struct qcow2_planned_write *write = bucket->writes[i];

			if (write->offset_bytes < end && write->offset_bytes + write->size > offset)
				end = write->offset_bytes > offset ? write->offset_bytes : offset;
		}
	}
	return end;
}
