/* SPDX-License-Identifier: MIT */
/* See counted.h. */
#include "usage/counted.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/crew.h"
#include "base/error.h"
#include "base/search.h"
#include "check/classify.h"

/* What is read before the next thread gets a turn. */
#define PIECE_BYTES ((uint64_t)1 << 18)

/*
 * How many clusters may be counted by blocks that counted others before. A refcount table that leads
 * to one block all the time makes runs without end out of the few bytes of that block.
 */
#define REPEATED_CLUSTERS_MOST ((uint64_t)1 << 20)

void q2_counted_init(struct q2_counted *counted, const struct qcow2_geometry *geometry,
		     struct q2_memory *memory)
{
	*counted = (struct q2_counted){.memory = memory,
				       .block_entries = geometry->refcount_block_entries,
				       .words_of_block = geometry->refcount_block_entries / 64};
}

void q2_counted_release(struct q2_counted *counted)
{
	if (!counted->memory)
		return;
	q2_memory_put(counted->memory, counted->blocks, counted->capacity,
		      sizeof(*counted->blocks));
	q2_memory_put(counted->memory, counted->words, counted->places * counted->words_of_block,
		      sizeof(uint64_t));
}

bool q2_counted_add(struct q2_counted *counted, uint64_t index, uint64_t offset_bytes)
{
	if (counted->count == counted->capacity &&
	    !q2_memory_grow(counted->memory, (void **)&counted->blocks, &counted->capacity,
			    sizeof(*counted->blocks)))
		return false;
	counted->blocks[counted->count++] = (struct q2_counted_block){
		.offset_bytes = offset_bytes, .index = index, .place = Q2_NO_PLACE};
	return true;
}

/* One reading of all blocks, which are in the order of their places. */
struct reading {
	struct q2_counted *counted;
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry;
	q2_classify classify;
	uint64_t per_piece;
	uint8_t *buffers; /* a cluster for each thread */
	struct qcow2_error errors[Q2_CREW_MAX];
	bool failed[Q2_CREW_MAX];
};

/* Reads the block into the buffer. Past the end of the file are zeros. */
static bool read_block(struct reading *r, const struct q2_counted_block *block, unsigned number,
		       uint8_t *buffer)
{
	const uint64_t cluster = r->geometry->cluster_size_bytes;
	const uint64_t left = r->geometry->file_size_bytes - block->offset_bytes;
	const size_t size = (size_t)(left < cluster ? left : cluster);

	r->failed[number] = qcow2_source_read(qcow2_image_source(r->image), block->offset_bytes,
					      buffer, size, &r->errors[number]) != 0;
	memset(buffer + size, 0, (size_t)cluster - size);
	return !r->failed[number];
}

/* Reads some blocks; one at the place of the one before has the same bits. */
static bool work(void *opaque, unsigned number, uint64_t piece)
{
	struct reading *r = opaque;
	const struct q2_counted *counted = r->counted;
	uint8_t *buffer = r->buffers + number * r->geometry->cluster_size_bytes;
	const uint64_t first = piece * r->per_piece;

	for (uint64_t i = first; i < first + r->per_piece && i < counted->count; i++) {
		const struct q2_counted_block *block = &counted->blocks[i];
		uint64_t *words;

		if (block->place == Q2_NO_PLACE || (i > 0 && block->place == block[-1].place))
			continue;
		if (!read_block(r, block, number, buffer))
			return false;
		words = counted->words + block->place * counted->words_of_block;
		for (uint64_t j = 0; j < counted->words_of_block; j++)
			words[j] = ~r->classify(buffer + j * r->geometry->refcount_bits * 8).zero;
	}
	return true;
}

static int by_place(const void *left, const void *right)
{
	const struct q2_counted_block *a = left, *b = right;

	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int by_index(const void *left, const void *right)
{
	const struct q2_counted_block *a = left, *b = right;

	return a->index < b->index ? -1 : a->index > b->index;
}

static bool is_hole(const struct reading *r, const struct q2_counted_block *block)
{
	const uint64_t end = block->offset_bytes + r->geometry->cluster_size_bytes;
	const uint64_t hole_end =
		qcow2_source_hole_end(qcow2_image_source(r->image), block->offset_bytes);

	return hole_end >= end || hole_end >= r->geometry->file_size_bytes;
}

/* Sorts the blocks by their places and numbers these; blocks in holes, or one too many, have none. */
static bool number_places(const struct reading *r)
{
	struct q2_counted *counted = r->counted;
	uint64_t left = REPEATED_CLUSTERS_MOST / counted->block_entries;

	if (counted->count > 1)
		qsort(counted->blocks, counted->count, sizeof(*counted->blocks), by_place);
	for (size_t i = 0; i < counted->count; i++) {
		struct q2_counted_block *block = &counted->blocks[i];

		if (i == 0 || block[-1].offset_bytes != block->offset_bytes) {
			if (!is_hole(r, block))
				block->place = counted->places++;
		} else if (block[-1].place != Q2_NO_PLACE && left > 0) {
			block->place = block[-1].place;
			left--;
		}
	}
	counted->words = q2_memory_get(counted->memory, counted->places * counted->words_of_block,
				       sizeof(uint64_t));
	return counted->words != NULL;
}

static int read_all(struct reading *r, unsigned threads, struct qcow2_error *err)
{
	const bool done = q2_crew_run(&(struct q2_crew_work){
		.pieces = q2_div_ceil_u64(r->counted->count, r->per_piece),
		.threads = r->counted->count > r->per_piece ? threads : 1,
		.work = work,
		.opaque = r,
	});

	for (unsigned i = 0; !done && i < threads; i++)
		if (r->failed[i]) {
			*err = r->errors[i];
			break;
		}
	return done ? 0 : -1;
}

int q2_counted_read(struct q2_counted *counted, const struct qcow2_image *image, unsigned threads,
		    struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	struct reading r = {
		.counted = counted,
		.image = image,
		.geometry = geometry,
		.classify = q2_classify_choose(qcow2_image_header(image)->refcount_order),
		.per_piece = PIECE_BYTES / geometry->cluster_size_bytes,
	};
	const size_t cluster = (size_t)geometry->cluster_size_bytes;
	int result = -1;

	if (r.per_piece == 0)
		r.per_piece = 1;
	if (counted->count == 0)
		return 0;
	r.buffers = q2_memory_get(counted->memory, threads, cluster);
	if (r.buffers && number_places(&r))
		result = read_all(&r, threads, err);
	else
		q2_memory_fail(counted->memory, err);
	q2_memory_put(counted->memory, r.buffers, threads, cluster);
	if (counted->count > 1)
		qsort(counted->blocks, counted->count, sizeof(*counted->blocks), by_index);
	return result;
}

/* The first block whose index is not lower. */
static size_t lower(const struct q2_counted *counted, uint64_t index)
{
	return q2_rising_lower(
		Q2_RISING(counted->blocks, counted->count, struct q2_counted_block, index), index);
}

/* How many bits from `at` on are as the first one, at most `most`. */
static uint64_t run_of_bits(const uint64_t *words, uint64_t at, uint64_t most, bool *set)
{
	const uint64_t flip = words[at / 64] >> at % 64 & 1 ? UINT64_MAX : 0;
	uint64_t run = 0;

	*set = flip != 0;
	while (run < most) {
		const uint64_t bit = (at + run) % 64;
		const uint64_t others = (words[(at + run) / 64] ^ flip) >> bit;

		if (others != 0) {
			run += (uint64_t)__builtin_ctzll(others);
			break;
		}
		run += 64 - bit;
	}
	return run < most ? run : most;
}

uint64_t q2_counted_run(const struct q2_counted *counted, uint64_t cluster, uint64_t most,
			bool *is_counted)
{
	const uint64_t index = cluster / counted->block_entries,
		       at = cluster % counted->block_entries;
	const size_t found = lower(counted, index);
	const struct q2_counted_block *block;
	uint64_t left = counted->block_entries - at;

	*is_counted = false;
	if (found == counted->count)
		return most;
	block = &counted->blocks[found];
	if (block->index != index)
		left += (block->index - index - 1) * counted->block_entries;
	if (left < most)
		most = left;
	if (block->index != index || block->place == Q2_NO_PLACE)
		return most;
	return run_of_bits(counted->words + block->place * counted->words_of_block, at, most,
			   is_counted);
}
