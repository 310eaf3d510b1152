/* SPDX-License-Identifier: MIT */
/* Hashes by the names that LUKS headers have for them, and keys made of passphrases. */
#ifndef Q2_CODEC_CRYPTO_HASH_H
#define Q2_CODEC_CRYPTO_HASH_H

#include <qcow2/base.h>

struct nettle_hash;

/* The longest digest of all hashes. */
#define Q2_CRYPTO_HASH_BYTES_MAX 64

/* Finds "md5", "sha1", "sha224", "sha256", "sha384", "sha512" or "ripemd160"; else NULL. */
const struct nettle_hash *q2_crypto_hash_find(struct qcow2_bytes name);

size_t q2_crypto_hash_bytes(const struct nettle_hash *hash);

/* Hashes head and then tail. digest: room for q2_crypto_hash_bytes(). */
void q2_crypto_hash(const struct nettle_hash *hash, struct qcow2_bytes head,
		    struct qcow2_bytes tail, uint8_t *digest);

/* How a passphrase is made a key. */
struct q2_pbkdf2 {
	const struct nettle_hash *hash;
	struct qcow2_bytes salt;
	uint32_t iterations; /* never 0 */
};

/* How often q2_pbkdf2() computes an HMAC for a key of that length: it takes as long. */
uint64_t q2_pbkdf2_rounds(const struct q2_pbkdf2 *how, size_t key_bytes);

/* Makes a key of key_bytes bytes of a passphrase (RFC 8018, PBKDF2 with HMAC). */
void q2_pbkdf2(const struct q2_pbkdf2 *how, struct qcow2_bytes passphrase, uint8_t *key,
	       size_t key_bytes);

#endif
