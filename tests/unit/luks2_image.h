/* SPDX-License-Identifier: MIT */
/*
 * An image that is encrypted with LUKS version 2, put together in memory: both copies of the header,
 * AES-256 in CBC mode, two stripes. Slot 0 makes keys with Argon2id, if the library has it; slot 1,
 * with PBKDF2. The passphrases and the key of the data are those of luks_image.h.
 */
#ifndef TESTS_UNIT_LUKS2_IMAGE_H
#define TESTS_UNIT_LUKS2_IMAGE_H

#include <stdio.h>

#include <nettle/base64.h>

#include "codec/argon2.h"
#include "unit/luks_image.h"

#define LUKS2_HEADER_BYTES ((size_t)16384)
#define LUKS2_BINARY_BYTES 4096
#define LUKS2_JSON_BYTES   (LUKS2_HEADER_BYTES - LUKS2_BINARY_BYTES)
#define LUKS2_SLOT_BYTES   4096
#define LUKS2_BYTES        (2 * LUKS2_HEADER_BYTES + 2 * (size_t)LUKS2_SLOT_BYTES)
#define LUKS2_IMAGE_BYTES  (LUKS_AT + LUKS2_BYTES)
#define LUKS2_CSUM         448
/* Where a copy of the header, its JSON and the key material of a slot are. */
#define LUKS2_COPY(i)     (LUKS_AT + (size_t)(i)*LUKS2_HEADER_BYTES)
#define LUKS2_JSON(i)     (LUKS2_COPY(i) + LUKS2_BINARY_BYTES)
#define LUKS2_MATERIAL(i) (LUKS2_COPY(2) + (size_t)(i)*LUKS2_SLOT_BYTES)

#define LUKS2_SLOT_TEXT                                                                            \
	"{\"type\":\"luks2\",\"key_size\":32,\"af\":{\"type\":\"luks1\",\"stripes\":2,\"hash\":"   \
	"\"sha256\"},\"area\":{\"type\":\"raw\",\"offset\":\"%u\",\"size\":\"4096\","              \
	"\"encryption\":\"aes-cbc-plain64\",\"key_size\":32},\"kdf\":{%s,\"salt\":\"%s\"}}"

/* The checksum of a copy. */
static inline void luks2_sign(uint8_t *copy)
{
	struct sha256_ctx sha;

	memset(copy + LUKS2_CSUM, 0, 64);
	sha256_init(&sha);
	sha256_update(&sha, LUKS2_HEADER_BYTES, copy);
	sha256_digest(&sha, SHA256_DIGEST_SIZE, copy + LUKS2_CSUM);
}

static inline void luks2_put_copy(uint8_t *image, unsigned i, const char *json)
{
	uint8_t *copy = image + LUKS2_COPY(i);

	memset(copy, 0, LUKS2_HEADER_BYTES);
	memcpy(copy, i == 0 ? "LUKS\xba\xbe" : "SKUL\xba\xbe", 6);
	put_be(copy + 6, 2, 2);
	put_be(copy + 8, 8, LUKS2_HEADER_BYTES);
	put_be(copy + 16, 8, 5);
	memcpy(copy + 72, "sha256", 6);
	put_be(copy + 256, 8, i * LUKS2_HEADER_BYTES);
	memcpy(copy + LUKS2_BINARY_BYTES, json, strlen(json));
	luks2_sign(copy);
}

static inline void luks2_put_slot(uint8_t *image, unsigned i, const char *passphrase,
				  const uint8_t *salt)
{
	const struct q2_argon2 way = {true, 2, 16, 2, {salt, 32}};
	uint8_t *material = image + LUKS2_MATERIAL(i), key[32];

	if (i == 0 && q2_argon2_is_there())
		(void)q2_argon2(
			&way, (struct qcow2_bytes){(const uint8_t *)passphrase, strlen(passphrase)},
			key, sizeof(key));
	else
		pbkdf2_hmac_sha256(strlen(passphrase), (const uint8_t *)passphrase, LUKS_ITERATIONS,
				   32, salt, sizeof(key), key);
	luks_split(material);
	luks_encrypt(key, 0, material, 2 * LUKS_KEY_BYTES);
}

/* The JSON of the image. text: LUKS2_JSON_BYTES. */
static inline void luks2_put_json(char *text, const char *salt, const char *digest)
{
	const char *kdfs[] = {
		q2_argon2_is_there() ? "\"type\":\"argon2id\",\"time\":2,\"memory\":16,\"cpus\":2"
				     : "\"type\":\"pbkdf2\",\"hash\":\"sha256\",\"iterations\":2",
		"\"type\":\"pbkdf2\",\"hash\":\"sha256\",\"iterations\":2",
	};
	int size = snprintf(text, LUKS2_JSON_BYTES, "{\"keyslots\":{");

	for (unsigned i = 0; i < 2; i++)
		size += snprintf(text + size, LUKS2_JSON_BYTES - (size_t)size,
				 "%s\"%u\":" LUKS2_SLOT_TEXT, i ? "," : "", i,
				 (unsigned)(LUKS2_MATERIAL(i) - LUKS_AT), kdfs[i], salt);
	snprintf(text + size, LUKS2_JSON_BYTES - (size_t)size,
		 "},\"tokens\":{},\"segments\":{\"0\":{\"type\":\"crypt\",\"offset\":\"40960\","
		 "\"size\":\"dynamic\",\"iv_tweak\":\"0\",\"encryption\":\"aes-cbc-plain64\","
		 "\"sector_size\":512}},\"digests\":{\"0\":{\"type\":\"pbkdf2\",\"keyslots\":"
		 "[\"0\",\"1\"],\"segments\":[\"0\"],\"hash\":\"sha256\",\"iterations\":2,"
		 "\"salt\":\"%s\",\"digest\":\"%s\"}},\"config\":{\"json_size\":\"12288\","
		 "\"keyslots_size\":\"8192\"}}",
		 salt, digest);
}

/* image: LUKS2_IMAGE_BYTES, which is more than LUKS_IMAGE_BYTES. */
static inline void luks2_put_image(uint8_t *image)
{
	char json[LUKS2_JSON_BYTES],
		salt_text[BASE64_ENCODE_RAW_LENGTH(32) + 1] = "",
							 digest_text[BASE64_ENCODE_RAW_LENGTH(32) +
								     1] = "";
	uint8_t salt[32], digest[32];

	luks_put_image(image);
	memset(image + LUKS_AT, 0, LUKS2_BYTES);
	put_be(image + LUKS_EXTENSION + 16, 8, LUKS2_BYTES);
	memset(salt, 's', sizeof(salt));
	pbkdf2_hmac_sha256(LUKS_KEY_BYTES, luks_key, LUKS_ITERATIONS, sizeof(salt), salt,
			   sizeof(digest), digest);
	base64_encode_raw(salt_text, sizeof(salt), salt);
	base64_encode_raw(digest_text, sizeof(digest), digest);
	luks2_put_json(json, salt_text, digest_text);
	luks2_put_copy(image, 0, json);
	luks2_put_copy(image, 1, json);
	luks2_put_slot(image, 0, "second", salt);
	luks2_put_slot(image, 1, "last one", salt);
}

#endif
