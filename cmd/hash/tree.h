/* SPDX-License-Identifier: MIT */
/*
 * The digest of a disk: SHA-256 over a tree of blocks, as docs/hash.md describes it. A run of zeros
 * costs a few steps, however long it is.
 */
#ifndef CMD_HASH_TREE_H
#define CMD_HASH_TREE_H

#include <stddef.h>
#include <stdint.h>

#define HASH_DIGEST_BYTES 32
#define HASH_BLOCK_BYTES  (UINT64_C(1) << 20)
#define HASH_FAN          256

/* Blocks of a disk of 2^64 bytes, in nodes of 256: 44 bits, 8 for each level but the top one. */
#define HASH_LEVELS 7

/* What a disk's digest begins with, so that nobody takes it for that of its bytes in a row. */
#define HASH_NAME "sha256-tree"

struct hash_level {
	size_t count; /* of the digests that no node has yet */
	uint8_t digests[HASH_FAN][HASH_DIGEST_BYTES];
};

struct hash_tree {
	uint64_t blocks;
	struct hash_level levels[HASH_LEVELS];
	uint8_t zeros[HASH_LEVELS][HASH_DIGEST_BYTES]; /* of subtrees of zeros */
};

/* SHA-256. digest: HASH_DIGEST_BYTES bytes. */
void hash_bytes(const void *bytes, size_t size, uint8_t *digest);

void hash_tree_begin(struct hash_tree *tree);

/* Adds the next block, by its digest, or so many blocks of zeros. */
void hash_tree_add(struct hash_tree *tree, const uint8_t *digest);
void hash_tree_add_zeros(struct hash_tree *tree, uint64_t blocks);

/* Gives the digest of a disk of that size, all of whose blocks were added. */
void hash_tree_end(struct hash_tree *tree, uint64_t size_bytes, uint8_t *digest);

#endif
