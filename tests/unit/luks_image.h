/* SPDX-License-Identifier: MIT */
/*
 * An image that is encrypted with LUKS, put together in memory: AES-256 in CBC mode, PBKDF2 with
 * SHA-256 and two iterations, two stripes. Slots 2 and 7 are open, with a passphrase each.
 */
#ifndef TESTS_UNIT_LUKS_IMAGE_H
#define TESTS_UNIT_LUKS_IMAGE_H

#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <nettle/pbkdf2.h>
#include <nettle/sha2.h>

#include "unit/image_bytes.h"

#define LUKS_AT          4096
#define LUKS_BYTES       (16 * 512)
#define LUKS_IMAGE_BYTES (LUKS_AT + LUKS_BYTES)
#define LUKS_EXTENSION   104
#define LUKS_KEY_BYTES   32
#define LUKS_SLOT(i)     (LUKS_AT + 208 + 48 * (size_t)(i))
/* Where the key material of a slot is. */
#define LUKS_MATERIAL(i) (LUKS_AT + (8 + (size_t)(i)) * 512)
#define LUKS_ITERATIONS  2

static const uint8_t luks_key[LUKS_KEY_BYTES + 1] = "the key with which data are kept";

/* Encrypts up to one sector in place: CBC, the initialization vector being its number. */
static inline void luks_encrypt(const uint8_t *key, uint64_t sector, uint8_t *bytes, size_t size)
{
	struct aes256_ctx aes;
	uint8_t iv[16] = {0};

	for (unsigned i = 0; i < 8; i++)
		iv[i] = (uint8_t)(sector >> (8 * i));
	aes256_set_encrypt_key(&aes, key);
	cbc_encrypt(&aes, (nettle_cipher_func *)aes256_encrypt, sizeof(iv), iv, size, bytes, bytes);
}

/* The second stripe is what the digest of the first one leaves of the key. */
static inline void luks_split(uint8_t *material)
{
	static const uint8_t number[4];
	struct sha256_ctx sha;
	uint8_t digest[32];

	memset(material, 0x77, LUKS_KEY_BYTES);
	sha256_init(&sha);
	sha256_update(&sha, sizeof(number), number);
	sha256_update(&sha, LUKS_KEY_BYTES, material);
	sha256_digest(&sha, sizeof(digest), digest);
	for (size_t i = 0; i < LUKS_KEY_BYTES; i++)
		material[LUKS_KEY_BYTES + i] = digest[i] ^ luks_key[i];
}

static inline void luks_open_slot(uint8_t *image, unsigned i, const char *passphrase)
{
	uint8_t *slot = image + LUKS_SLOT(i), *material = image + LUKS_MATERIAL(i), key[32];

	put_be(slot, 4, 0x00ac71f3);
	put_be(slot + 4, 4, LUKS_ITERATIONS);
	memset(slot + 8, 'a' + (int)i, 32);
	pbkdf2_hmac_sha256(strlen(passphrase), (const uint8_t *)passphrase, LUKS_ITERATIONS, 32,
			   slot + 8, sizeof(key), key);
	luks_split(material);
	luks_encrypt(key, 0, material, 2 * LUKS_KEY_BYTES);
}

static inline void luks_put_header(uint8_t *luks)
{
	memcpy(luks, "LUKS\xba\xbe", 6);
	put_be(luks + 6, 2, 1);
	memcpy(luks + 8, "aes", 3);
	memcpy(luks + 40, "cbc-plain64", 11);
	memcpy(luks + 72, "sha256", 6);
	put_be(luks + 104, 4, 16);
	put_be(luks + 108, 4, LUKS_KEY_BYTES);
	memset(luks + 132, 's', 32);
	put_be(luks + 164, 4, LUKS_ITERATIONS);
	pbkdf2_hmac_sha256(LUKS_KEY_BYTES, luks_key, LUKS_ITERATIONS, 32, luks + 132, 20,
			   luks + 112);
	for (unsigned i = 0; i < 8; i++) {
		put_be(luks + 208 + 48 * i, 4, 0x0000dead);
		put_be(luks + 208 + 48 * i + 40, 4, 8 + i);
		put_be(luks + 208 + 48 * i + 44, 4, 2);
	}
}

/* image: LUKS_IMAGE_BYTES. */
static inline void luks_put_image(uint8_t *image)
{
	memset(image, 0, LUKS_IMAGE_BYTES);
	put_header(image, 1 << 20);
	put_be(image + 32, 4, 2);
	put_mark(image + LUKS_EXTENSION, 0x0537be77, 16);
	put_be(image + LUKS_EXTENSION + 8, 8, LUKS_AT);
	put_be(image + LUKS_EXTENSION + 16, 8, LUKS_BYTES);
	luks_put_header(image + LUKS_AT);
	luks_open_slot(image, 2, "second");
	luks_open_slot(image, 7, "last one");
}

#endif
