/* SPDX-License-Identifier: MIT */
/* See tree.h. */
#include "hash/tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <nettle/sha2.h>

void hash_bytes(const void *bytes, size_t size, uint8_t *digest)
{
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, size, bytes);
	sha256_digest(&context, HASH_DIGEST_BYTES, digest);
}

/* The digest of a block of zeros. */
static void hash_zero_block(uint8_t *digest)
{
	static const uint8_t zeros[4096];
	struct sha256_ctx context;

	sha256_init(&context);
	for (size_t done = 0; done < HASH_BLOCK_BYTES; done += sizeof(zeros))
		sha256_update(&context, sizeof(zeros), zeros);
	sha256_digest(&context, HASH_DIGEST_BYTES, digest);
}

void hash_tree_begin(struct hash_tree *tree)
{
	tree->blocks = 0;
	for (size_t i = 0; i < HASH_LEVELS; i++)
		tree->levels[i].count = 0;
	hash_zero_block(tree->zeros[0]);
	for (size_t i = 1; i < HASH_LEVELS; i++) {
		struct hash_level *level = &tree->levels[0];

		for (size_t j = 0; j < HASH_FAN; j++)
			memcpy(level->digests[j], tree->zeros[i - 1], HASH_DIGEST_BYTES);
		hash_bytes(level->digests, sizeof(level->digests), tree->zeros[i]);
	}
}

/* Adds a digest to a level; full levels become a node of the next one. The top one is never full. */
static void add(struct hash_tree *tree, size_t at, const uint8_t *digest)
{
	struct hash_level *level = &tree->levels[at];
	uint8_t node[HASH_DIGEST_BYTES];

	memcpy(level->digests[level->count++], digest, HASH_DIGEST_BYTES);
	for (; level->count == HASH_FAN; level = &tree->levels[++at]) {
		struct hash_level *above = &tree->levels[at + 1];

		hash_bytes(level->digests, sizeof(level->digests), node);
		level->count = 0;
		memcpy(above->digests[above->count++], node, HASH_DIGEST_BYTES);
	}
}

void hash_tree_add(struct hash_tree *tree, const uint8_t *digest)
{
	tree->blocks++;
	add(tree, 0, digest);
}

void hash_tree_add_zeros(struct hash_tree *tree, uint64_t blocks)
{
	tree->blocks += blocks;
	while (blocks > 0) {
		uint64_t size = 1;
		size_t at = 0;

		/* The largest subtree that begins here and is not longer than the run. */
		while (at + 1 < HASH_LEVELS && tree->levels[at].count == 0 &&
		       blocks / HASH_FAN >= size) {
			size *= HASH_FAN;
			at++;
		}
		add(tree, at, tree->zeros[at]);
		blocks -= size;
	}
}

void hash_tree_end(struct hash_tree *tree, uint64_t size_bytes, uint8_t *digest)
{
	struct sha256_ctx context;
	uint64_t left = tree->blocks;
	size_t top = 0;
	char head[64];
	const int head_bytes = snprintf(head, sizeof(head), HASH_NAME " %d %d %" PRIu64 "\n",
					(int)HASH_BLOCK_BYTES, HASH_FAN, size_bytes);

	/* The last node of each level is filled up with zeros, up to the root. */
	for (; left > 1; left = (left - 1) / HASH_FAN + 1, top++)
		while (tree->levels[top].count > 0)
			add(tree, top, tree->zeros[top]);
	sha256_init(&context);
	sha256_update(&context, (size_t)head_bytes, (const uint8_t *)head);
	if (tree->blocks > 0)
		sha256_update(&context, HASH_DIGEST_BYTES, tree->levels[top].digests[0]);
	sha256_digest(&context, HASH_DIGEST_BYTES, digest);
}
