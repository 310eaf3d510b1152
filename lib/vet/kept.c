/* SPDX-License-Identifier: MIT */
/* See kept.h. */
#include "vet/kept.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool add_region(struct q2_kept *kept, uint64_t at, uint64_t size)
{
	size_t capacity = kept->capacity ? kept->capacity * 2 : 8;
	struct q2_kept_region *grown;

	if (kept->count == kept->capacity) {
		grown = q2_realloc_array(kept->regions, capacity, sizeof(*grown));
		if (!grown) {
			kept->short_of_memory = true;
			return false;
		}
		kept->regions = grown;
		kept->capacity = capacity;
	}
	kept->regions[kept->count++] = (struct q2_kept_region){.at = at, .size = size};
	return true;
}

bool q2_kept_init(struct q2_kept *kept, size_t tail_bytes)
{
	*kept = (struct q2_kept){.tail_bytes = tail_bytes};
	kept->tail = q2_alloc_buffer(tail_bytes);
	return kept->tail && add_region(kept, 0, Q2_KEPT_HEAD_BYTES);
}

void q2_kept_release(struct q2_kept *kept)
{
	for (size_t i = 0; i < kept->count; i++)
		q2_free(kept->regions[i].bytes);
	q2_free(kept->regions);
	q2_free(kept->tail);
}

void q2_kept_ask(struct q2_kept *kept, uint64_t at, uint64_t size)
{
	uint64_t end;

	if (q2_add_u64(at, size, &end) || end <= Q2_KEPT_HEAD_BYTES)
		return;
	if (at < Q2_KEPT_HEAD_BYTES) {
		size = end - Q2_KEPT_HEAD_BYTES;
		at = Q2_KEPT_HEAD_BYTES;
	}
	if (at < kept->position || kept->count >= Q2_KEPT_REGIONS_MOST ||
	    size > Q2_KEPT_BYTES_MOST - kept->asked_bytes)
		return;
	kept->asked_bytes += size;
	(void)add_region(kept, at, size);
}

/* Makes room for bytes of a region, in steps, as they arrive. */
static bool make_room(struct q2_kept *kept, struct q2_kept_region *region, size_t needed)
{
	size_t capacity = region->capacity ? region->capacity : 4096;
	uint8_t *grown;

	if (needed <= region->capacity)
		return true;
	while (capacity < needed)
		capacity *= 2;
	grown = q2_realloc_array(region->bytes, capacity, 1);
	if (!grown) {
		kept->short_of_memory = true;
		return false;
	}
	region->bytes = grown;
	region->capacity = capacity;
	return true;
}

/* Gives a region its part of the bytes at the stream's position. */
static void fill(struct q2_kept *kept, struct q2_kept_region *region, const uint8_t *bytes,
		 size_t size)
{
	uint64_t next = region->at + region->filled, end = kept->position + size;
	size_t part;

	if (region->filled >= region->size || next < kept->position || next >= end)
		return;
	part = (size_t)smaller(end - next, region->size - region->filled);
	if (!make_room(kept, region, (size_t)region->filled + part))
		return;
	memcpy(region->bytes + region->filled, bytes + (next - kept->position), part);
	region->filled += part;
}

/* The ring begins anew with each multiple of its size. */
static void fill_tail(struct q2_kept *kept, const uint8_t *bytes, size_t size)
{
	uint64_t at = kept->position;
	size_t place, part;

	if (size > kept->tail_bytes) {
		at += size - kept->tail_bytes;
		bytes += size - kept->tail_bytes;
		size = kept->tail_bytes;
	}
	for (; size > 0; at += part, bytes += part, size -= part) {
		place = (size_t)(at % kept->tail_bytes);
		part = (size_t)smaller(size, kept->tail_bytes - place);
		memcpy(kept->tail + place, bytes, part);
	}
}

static void note_nonzero(struct q2_kept *kept, const uint8_t *bytes, size_t size)
{
	while (size > 0 && bytes[size - 1] == 0)
		size--;
	if (size > 0)
		kept->nonzero_end = kept->position + size;
}

void q2_kept_take(struct q2_kept *kept, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < kept->count; i++)
		fill(kept, &kept->regions[i], bytes, size);
	fill_tail(kept, bytes, size);
	note_nonzero(kept, bytes, size);
	kept->position += size;
}

/* The region that has a byte, or NULL. */
static const struct q2_kept_region *find(const struct q2_kept *kept, uint64_t at)
{
	for (size_t i = 0; i < kept->count; i++)
		if (at >= kept->regions[i].at && at - kept->regions[i].at < kept->regions[i].filled)
			return &kept->regions[i];
	return NULL;
}

bool q2_kept_has(const struct q2_kept *kept, uint64_t at, uint64_t size)
{
	const struct q2_kept_region *region;
	uint64_t part;

	for (; size > 0; at += part, size -= part) {
		region = find(kept, at);
		if (!region)
			return false;
		part = smaller(size, region->at + region->filled - at);
	}
	return true;
}

bool q2_kept_read(const struct q2_kept *kept, uint64_t at, uint8_t *buffer, size_t size,
		  uint64_t *missing_from)
{
	const struct q2_kept_region *region = find(kept, at);
	size_t part;

	if (size > 0 && !region)
		return false;
	for (; size > 0 && region; region = find(kept, at)) {
		part = (size_t)smaller(size, region->at + region->filled - at);
		memcpy(buffer, region->bytes + (at - region->at), part);
		at += part;
		buffer += part;
		size -= part;
	}
	if (size == 0)
		return true;
	memset(buffer, 0, size);
	*missing_from = smaller(*missing_from, at);
	return true;
}

size_t q2_kept_tail(const struct q2_kept *kept, uint8_t *buffer)
{
	size_t size = (size_t)smaller(kept->position, kept->tail_bytes), place, part;
	uint64_t at = kept->position - size;

	for (size_t left = size; left > 0; at += part, buffer += part, left -= part) {
		place = (size_t)(at % kept->tail_bytes);
		part = (size_t)smaller(left, kept->tail_bytes - place);
		memcpy(buffer, kept->tail + place, part);
	}
	return size;
}
