/* SPDX-License-Identifier: MIT */
/*
 * Finds the blocks that may hold something else than zeros, and has threads read and hash them. What
 * the image says is zeros is never read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "common/crew.h"
#include "hash/run.h"

static int fail_memory(struct qcow2_error *err)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

/* Of buffers: the system copies fastest into whole pages. */
#define HASH_ALIGNMENT ((size_t)4096)

/* ---- a thread ---- */

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* What cannot be read, of the range that is being read. */
struct hearing {
	struct hash_piece *piece;
	bool faulty;
};

static int hear(void *opaque, const struct qcow2_disk_fault *fault)
{
	struct hearing *hearing = opaque;

	hearing->faulty = true;
	if (hearing->piece->reason[0] == '\0')
		snprintf(hearing->piece->reason, sizeof(hearing->piece->reason), "%.*s",
			 HASH_REASON_BYTES - 1, fault->error.text);
	return 0;
}

/*
 * Reads a range, and notes in *faulty whether a part of it is not known. The digest of a whole disk
 * cannot do without any part.
 */
static int read_range(struct hash_run *run, struct hash_piece *piece, uint64_t at, uint8_t *buffer,
		      size_t size, bool *faulty, struct qcow2_error *err)
{
	struct hearing hearing = {.piece = piece};
	int failed;

	if (!run->by_block)
		return qcow2_disk_read(run->disk.disk, (struct qcow2_guest){at}, buffer, size, err);
	failed = qcow2_disk_read_past(run->disk.disk, (struct qcow2_guest){at}, buffer, size, hear,
				      &hearing, err);
	*faulty = *faulty || hearing.faulty;
	return failed;
}

/* Hashes a block that is longer than the buffer. */
static int hash_long(struct hash_run *run, struct hash_piece *piece, uint64_t start, uint64_t size,
		     uint8_t *buffer, struct qcow2_error *err)
{
	struct sha256_ctx context;
	bool zeros = true, faulty = false;

	sha256_init(&context);
	for (uint64_t done = 0; done < size;) {
		const size_t part =
			size - done < HASH_READ_BYTES ? (size_t)(size - done) : HASH_READ_BYTES;

		if (read_range(run, piece, start + done, buffer, part, &faulty, err))
			return -1;
		zeros = zeros && is_zero(buffer, part);
		sha256_update(&context, part, buffer);
		done += part;
	}
	sha256_digest(&context, HASH_DIGEST_BYTES, piece->digests[0]);
	piece->kinds[0] = faulty ? HASH_UNREADABLE : zeros ? HASH_ZEROS : HASH_DATA;
	return 0;
}

/* Hashes a block in the buffer. The last one of a tree is filled up with zeros. */
static void hash_block(const struct hash_run *run, struct hash_piece *piece, size_t i,
		       uint8_t *block, size_t size)
{
	piece->kinds[i] = HASH_ZEROS;
	if (is_zero(block, size))
		return;
	piece->kinds[i] = HASH_DATA;
	if (!run->by_block && size < HASH_BLOCK_BYTES) {
		memset(block + size, 0, HASH_BLOCK_BYTES - size);
		size = HASH_BLOCK_BYTES;
	}
	hash_bytes(block, size, piece->digests[i]);
}

/* Reads blocks one by one, as a part of what holds them all cannot be read. */
static int hash_apart(struct hash_run *run, struct hash_piece *piece, uint64_t start, size_t size,
		      uint8_t *buffer, struct qcow2_error *err)
{
	const size_t block = (size_t)run->block_bytes;

	for (size_t i = 0; i < piece->count; i++) {
		const size_t part = size - i * block < block ? size - i * block : block;
		bool faulty = false;

		if (read_range(run, piece, start + i * block, buffer, part, &faulty, err))
			return -1;
		if (faulty)
			piece->kinds[i] = HASH_UNREADABLE;
		else
			hash_block(run, piece, i, buffer, part);
	}
	return 0;
}

static int make(void *opaque, unsigned worker, void *made, struct qcow2_error *err)
{
	struct hash_run *run = opaque;
	struct hash_piece *piece = made;
	const uint64_t start = piece->first * run->block_bytes, left = run->size_bytes - start;
	const uint64_t all = piece->count * run->block_bytes, size = left < all ? left : all;
	uint8_t **buffer = &run->buffers[worker];
	bool faulty = false;

	piece->reason[0] = '\0';
	/* Reading a part says why. */
	if (piece->is_unreadable) {
		uint8_t byte;

		return read_range(run, piece, start, &byte, 1, &faulty, err);
	}
	if (!*buffer)
		*buffer = aligned_alloc(HASH_ALIGNMENT, HASH_READ_BYTES);
	if (!*buffer)
		return fail_memory(err);
	if (size > HASH_READ_BYTES)
		return hash_long(run, piece, start, size, *buffer, err);
	if (read_range(run, piece, start, *buffer, (size_t)size, &faulty, err))
		return -1;
	if (faulty)
		return hash_apart(run, piece, start, (size_t)size, *buffer, err);
	for (size_t i = 0; i < piece->count; i++) {
		const uint64_t at = i * run->block_bytes;

		hash_block(run, piece, i, *buffer + at,
			   (size_t)(size - at < run->block_bytes ? size - at : run->block_bytes));
	}
	return 0;
}

/* ---- the main thread ---- */

static int use(void *opaque, void *made, struct qcow2_error *err)
{
	struct hash_run *run = opaque;
	const struct hash_piece *piece = made;

	(void)err;
	hash_use(run, piece);
	progress_share(&run->progress, piece->first * run->block_bytes, run->size_bytes);
	return 0;
}

struct walk {
	struct hash_run *run;
	struct crew *crew;
	uint64_t passed;     /* all blocks before this one are in pieces, or counted in one */
	uint64_t first, end; /* blocks that may hold data, and are not handed over yet */
};

/* Hands blocks over. Returns 0, or -1 with *err filled. */
static int push(struct walk *walk, uint64_t first, uint64_t end, struct qcow2_error *err)
{
	struct hash_run *run = walk->run;
	const uint64_t most =
		run->block_bytes < HASH_READ_BYTES ? HASH_READ_BYTES / run->block_bytes : 1;

	while (first < end && run->out.errnum == 0) {
		struct hash_piece *piece = crew_piece(walk->crew, err);

		if (!piece)
			return -1;
		piece->is_unreadable = false;
		piece->zeros_before = first - walk->passed;
		piece->first = first;
		piece->count = end - first < most ? end - first : most;
		first += piece->count;
		walk->passed = first;
		if (crew_push(walk->crew, err))
			return -1;
	}
	return 0;
}

/* Hands over blocks that cannot be read, however many, as one. Returns 0, or -1 with *err filled. */
static int push_unreadable(struct walk *walk, uint64_t first, uint64_t end, struct qcow2_error *err)
{
	struct hash_piece *piece = crew_piece(walk->crew, err);

	if (!piece)
		return -1;
	piece->is_unreadable = true;
	piece->zeros_before = first - walk->passed;
	piece->first = first;
	piece->count = end - first;
	walk->passed = end;
	return crew_push(walk->crew, err);
}

/* Adds blocks to those that are not handed over yet, or hands these over before. */
static int add(struct walk *walk, uint64_t begin, uint64_t end, struct qcow2_error *err)
{
	if (begin == end)
		return 0;
	/* Neighbours are one run, so that pieces are as long as can be. */
	if (begin > walk->end || walk->end == walk->first) {
		if (push(walk, walk->first, walk->end, err))
			return -1;
		walk->first = begin;
	}
	if (end > walk->end)
		walk->end = end;
	/* The last block may hold the begin of the next extent, too. */
	if (walk->end - walk->first < 2 * HASH_BLOCKS_MOST)
		return 0;
	end = walk->end - 1;
	if (push(walk, walk->first, end, err))
		return -1;
	walk->first = end;
	return 0;
}

/* Adds an extent of which [whole, whole_end) are whole blocks, and none of these can be read. */
static int add_unreadable(struct walk *walk, const struct qcow2_disk_extent *extent,
			  struct qcow2_error *err)
{
	const uint64_t block = walk->run->block_bytes, start = extent->start.byte;
	const uint64_t end = start + extent->length_bytes;
	const uint64_t whole = start / block + (start % block != 0), whole_end = end / block;

	if (!walk->run->by_block || whole >= whole_end)
		return add(walk, start / block, (end - 1) / block + 1, err);
	if (add(walk, start / block, whole, err) || push(walk, walk->first, walk->end, err) ||
	    push_unreadable(walk, whole, whole_end, err))
		return -1;
	walk->first = walk->end = whole_end;
	return add(walk, whole_end, whole_end + (end % block != 0), err);
}

static int add_extent(struct walk *walk, const struct qcow2_disk_extent *extent,
		      struct qcow2_error *err)
{
	const uint64_t block = walk->run->block_bytes, start = extent->start.byte;

	switch (extent->kind) {
	case QCOW2_DISK_UNALLOCATED:
	case QCOW2_DISK_ZERO:
		return 0;
	case QCOW2_DISK_UNREADABLE:
		return add_unreadable(walk, extent, err);
	case QCOW2_DISK_DATA:
		break;
	}
	return add(walk, start / block, (start + extent->length_bytes - 1) / block + 1, err);
}

static int push_all(struct walk *walk, struct qcow2_disk_extents *extents, struct qcow2_error *err)
{
	const struct qcow2_disk_extent *extent;
	int more;

	while ((more = qcow2_disk_extents_next(extents, &extent, err)) > 0 &&
	       walk->run->out.errnum == 0)
		if (add_extent(walk, extent, err))
			return -1;
	return more < 0 || push(walk, walk->first, walk->end, err) ? -1
								   : crew_wait(walk->crew, err);
}

/* A table that cannot be read hides what is unreadable: then no list of blocks is whole. */
static int walk_with(struct walk *walk, uint64_t *zeros_after, struct qcow2_error *err)
{
	struct hash_run *run = walk->run;
	struct qcow2_disk_extents *extents;
	int failed;

	if (qcow2_disk_extents_open(run->disk.disk, &extents, err))
		return -1;
	failed = push_all(walk, extents, err);
	qcow2_disk_extents_close(extents);
	*zeros_after = run->size_bytes / run->block_bytes +
		       (run->size_bytes % run->block_bytes != 0) - walk->passed;
	return failed;
}

int hash_walk(struct hash_run *run, uint64_t *zeros_after, struct qcow2_error *err)
{
	const struct crew_work work = {
		.make = make,
		.use = use,
		.opaque = run,
		.piece_bytes = sizeof(struct hash_piece),
		.threads = run->threads,
	};
	struct walk walk = {.run = run, .crew = crew_open(&work, err)};
	int failed = walk.crew ? walk_with(&walk, zeros_after, err) : -1;

	crew_close(walk.crew);
	return failed;
}
