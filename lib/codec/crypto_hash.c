/* SPDX-License-Identifier: MIT */
/* See crypto_hash.h. The hashes and PBKDF2 are those of Nettle. */
#include "codec/crypto_hash.h"

#include <assert.h>
#include <string.h>

#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>

#include "base/checked.h"
#include "base/system.h"

union state {
	struct md5_ctx md5;
	struct sha1_ctx sha1;
	struct sha256_ctx sha256; /* and sha224 */
	struct sha512_ctx sha512; /* and sha384 */
	struct ripemd160_ctx ripemd160;
};

/* An HMAC whose hash is known only when it runs. */
struct mac {
	const struct nettle_hash *hash;
	union state outer, inner, state;
};

const struct nettle_hash *q2_crypto_hash_find(struct qcow2_bytes name)
{
	static const struct nettle_hash *const hashes[] = {
		&nettle_sha256,    &nettle_sha1,   &nettle_sha512, &nettle_sha224,
		&nettle_ripemd160, &nettle_sha384, &nettle_md5,
	};

	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
		assert(hashes[i]->context_size <= sizeof(union state) &&
		       hashes[i]->digest_size <= Q2_CRYPTO_HASH_BYTES_MAX);
		if (strlen(hashes[i]->name) == name.size &&
		    memcmp(hashes[i]->name, name.data, name.size) == 0)
			return hashes[i];
	}
	return NULL;
}

size_t q2_crypto_hash_bytes(const struct nettle_hash *hash)
{
	return hash->digest_size;
}

void q2_crypto_hash(const struct nettle_hash *hash, struct qcow2_bytes head,
		    struct qcow2_bytes tail, uint8_t *digest)
{
	union state state;

	hash->init(&state);
	hash->update(&state, head.size, head.data);
	hash->update(&state, tail.size, tail.data);
	hash->digest(&state, hash->digest_size, digest);
	q2_wipe(&state, sizeof(state));
}

uint64_t q2_pbkdf2_rounds(const struct q2_pbkdf2 *how, size_t key_bytes)
{
	return how->iterations * q2_div_ceil_u64(key_bytes, how->hash->digest_size);
}

static void mac_update(void *opaque, size_t size, const uint8_t *bytes)
{
	struct mac *mac = opaque;

	hmac_update(&mac->state, mac->hash, size, bytes);
}

static void mac_digest(void *opaque, size_t size, uint8_t *digest)
{
	struct mac *mac = opaque;

	hmac_digest(&mac->outer, &mac->inner, &mac->state, mac->hash, size, digest);
}

void q2_pbkdf2(const struct q2_pbkdf2 *how, struct qcow2_bytes passphrase, uint8_t *key,
	       size_t key_bytes)
{
	struct mac mac = {.hash = how->hash};

	hmac_set_key(&mac.outer, &mac.inner, &mac.state, how->hash, passphrase.size,
		     passphrase.data);
	pbkdf2(&mac, mac_update, mac_digest, how->hash->digest_size, how->iterations,
	       how->salt.size, how->salt.data, key_bytes, key);
	q2_wipe(&mac, sizeof(mac));
}
