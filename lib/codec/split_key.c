/* SPDX-License-Identifier: MIT */
/* See split_key.h. */
#include "codec/split_key.h"

#include <string.h>

#include "base/bytes.h"
#include "base/system.h"
#include "codec/crypto_hash.h"

/*
 * Replaces the key by the digests of its pieces. A piece is as long as a digest, but for the last
 * one; each is hashed behind its number.
 */
static void diffuse(const struct nettle_hash *hash, uint8_t *key, size_t key_bytes)
{
	uint8_t number[sizeof(uint32_t)], digest[Q2_CRYPTO_HASH_BYTES_MAX];
	size_t whole = q2_crypto_hash_bytes(hash), size;
	uint32_t i = 0;

	for (size_t done = 0; done < key_bytes; done += size, i++) {
		size = key_bytes - done < whole ? key_bytes - done : whole;
		q2_store_be32(number, i);
		q2_crypto_hash(hash, (struct qcow2_bytes){number, sizeof(number)},
			       (struct qcow2_bytes){key + done, size}, digest);
		memcpy(key + done, digest, size);
	}
	q2_wipe(digest, sizeof(digest));
}

void q2_split_key_join(const struct nettle_hash *hash, const uint8_t *material, uint32_t stripes,
		       uint8_t *key, size_t key_bytes)
{
	memset(key, 0, key_bytes);
	for (uint32_t i = 0; i < stripes; i++, material += key_bytes) {
		if (i > 0)
			diffuse(hash, key, key_bytes);
		for (size_t k = 0; k < key_bytes; k++)
			key[k] ^= material[k];
	}
}
