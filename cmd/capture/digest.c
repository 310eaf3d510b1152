/* SPDX-License-Identifier: MIT */
/* The digest of a capture: see run.h. Blocks that are all zeros do not count, whether stored or not. */
#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "capture/run.h"

#include <qcow2/source.h>

#define BLOCK_BYTES ((size_t)4096)
#define PIECE_BYTES (BLOCK_BYTES * 64)

static void add_number(struct sha256_ctx *context, uint64_t number)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(number >> (56 - 8 * i));
	sha256_update(context, sizeof(bytes), bytes);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static void add_piece(struct sha256_ctx *context, uint64_t at, const uint8_t *piece, size_t size)
{
	for (size_t done = 0; done < size; done += BLOCK_BYTES) {
		const size_t block = size - done < BLOCK_BYTES ? size - done : BLOCK_BYTES;

		if (is_zero(piece + done, block))
			continue;
		add_number(context, at + done);
		sha256_update(context, block, piece + done);
	}
}

int capture_digest(struct qcow2_source *source, uint8_t *digest, struct qcow2_error *err)
{
	const uint64_t end = qcow2_source_size_bytes(source);
	uint8_t *piece = malloc(PIECE_BYTES);
	struct sha256_ctx context;
	int failed = 0;

	if (!piece)
		return capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	sha256_init(&context);
	add_number(&context, end);
	for (uint64_t at = 0; at < end && !failed;) {
		const uint64_t data = qcow2_source_hole_end(source, at) / BLOCK_BYTES * BLOCK_BYTES;
		const size_t size = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;

		if (data > at) {
			at = data;
			continue;
		}
		if (qcow2_source_hole_end(source, at) >= end)
			break;
		failed = qcow2_source_read(source, at, piece, size, err);
		if (!failed)
			add_piece(&context, at, piece, size);
		at += size;
	}
	sha256_digest(&context, HASH_DIGEST_BYTES, digest);
	free(piece);
	return failed;
}
