/* SPDX-License-Identifier: MIT */
/* See pieces.h. */
#include "compare/pieces.h"

#include <stdlib.h>
#include <string.h>

/* Of buffers: the system copies fastest into whole pages. */
#define COMPARE_ALIGNMENT ((size_t)4096)

/* ---- a thread ---- */

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* The buffers of a worker, which are made when they are needed. NULL if there is no memory. */
static uint8_t *buffer_of(struct compare_run *run, unsigned worker, unsigned side)
{
	uint8_t **buffer = &run->buffers[2 * worker + side];

	if (!*buffer)
		*buffer = aligned_alloc(COMPARE_ALIGNMENT, COMPARE_PIECE_BYTES);
	return *buffer;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Compares size bytes of both; NULL stands for zeros. */
static bool is_same(const uint8_t *a, const uint8_t *b, size_t size)
{
	if (a && b)
		return memcmp(a, b, size) == 0;
	return is_zero(a ? a : b, size);
}

static void find_sectors(struct compare_piece *piece, const uint8_t *a, const uint8_t *b,
			 size_t size)
{
	memset(piece->sectors, 0, sizeof(piece->sectors));
	for (size_t at = 0; at < size; at += COMPARE_SECTOR) {
		const size_t sector = at / COMPARE_SECTOR;

		if (!is_same(a ? a + at : NULL, b ? b + at : NULL, COMPARE_SECTOR))
			piece->sectors[sector / 64] |= UINT64_C(1) << sector % 64;
	}
}

int compare_make(void *opaque, unsigned worker, void *made, struct qcow2_error *err)
{
	struct compare_run *run = opaque;
	struct compare_piece *piece = made;
	const size_t size = (size_t)(piece->end_bytes - piece->start_bytes);
	uint8_t *bytes[2] = {NULL, NULL};

	(void)err;
	piece->failed = piece->differs = false;
	for (unsigned i = 0; i < 2 && !piece->failed; i++) {
		if (!piece->reads[i])
			continue;
		bytes[i] = buffer_of(run, worker, i);
		piece->blamed = i;
		piece->failed = bytes[i] ? qcow2_disk_read(run->disks[i].disk,
							   (struct qcow2_guest){piece->start_bytes},
							   bytes[i], size, &piece->err) != 0
					 : fail_memory(&piece->err) != 0;
	}
	if (piece->failed)
		return 0;
	piece->differs = !is_same(bytes[0], bytes[1], size);
	if (piece->differs)
		find_sectors(piece, bytes[0], bytes[1], size);
	return 0;
}

/* ---- the main thread ---- */

static bool sector_differs(const struct compare_piece *piece, uint64_t at)
{
	const uint64_t sector = (at - piece->start_bytes) / COMPARE_SECTOR;

	return piece->sectors[sector / 64] >> sector % 64 & 1;
}

/* Adds what differs of [at, end), a segment. */
static void use_segment(struct compare_run *run, const struct compare_piece *piece, uint64_t at,
			const struct compare_segment *segment)
{
	struct compare_range range = {.kinds = {segment->kinds[0], segment->kinds[1]}};

	for (; at < segment->end_bytes; at += COMPARE_SECTOR) {
		if (!sector_differs(piece, at) &&
		    !(run->strict && segment->kinds[0] != segment->kinds[1]))
			continue;
		range.start_bytes = at;
		range.length_bytes = COMPARE_SECTOR;
		range.reads_same = !sector_differs(piece, at);
		compare_add(run, &range);
	}
}

int compare_use(void *opaque, void *made, struct qcow2_error *err)
{
	struct compare_run *run = opaque;
	struct compare_piece *piece = made;
	uint64_t at = piece->start_bytes;

	if (piece->failed) {
		run->blamed = piece->blamed;
		run->code = COMPARE_NO_DATA;
		*err = piece->err;
		return -1;
	}
	if (!piece->differs)
		memset(piece->sectors, 0, sizeof(piece->sectors));
	for (size_t i = 0; (piece->differs || run->strict) && i < piece->segment_count; i++) {
		use_segment(run, piece, at, &piece->segments[i]);
		at = piece->segments[i].end_bytes;
	}
	progress_share(&run->progress, piece->end_bytes,
		       run->sizes[0] > run->sizes[1] ? run->sizes[0] : run->sizes[1]);
	return 0;
}
