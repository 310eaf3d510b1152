/* SPDX-License-Identifier: MIT */
/*
 * See cipher.h. The block ciphers are those of Nettle, whose functions have no state but what the
 * caller owns. XTS is made of them here: Nettle's decrypts block by block, which takes seven times
 * as long where the processor has instructions for AES.
 */
#include "codec/cipher.h"

#include <assert.h>
#include <string.h>

#include <nettle/aes.h>
#include <nettle/cast128.h>
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/memxor.h>
#include <nettle/nettle-meta.h>
#include <nettle/serpent.h>
#include <nettle/twofish.h>

#include "base/alloc.h"
#include "base/system.h"
#include "codec/crypto_hash.h"

#define BLOCK_BYTES_MAX 16
/* So many sectors of 512 bytes are decrypted at a step, which keeps the pipelines full. */
#define STEP       8
#define TOP_BIT    (8 * sizeof(uint64_t) - 1)
#define STEP_BYTES (STEP * (size_t)Q2_CIPHER_SECTOR_BYTES)
/* A step is whole sectors of any size. */
static_assert(STEP_BYTES == Q2_CIPHER_SECTOR_BYTES_MAX, "a sector is a step at most");

union key {
	struct aes128_ctx aes128;
	struct aes192_ctx aes192;
	struct aes256_ctx aes256;
	struct serpent_ctx serpent;
	struct twofish_ctx twofish;
	struct cast128_ctx cast128;
};

struct q2_cipher {
	struct q2_cipher_choice choice;
	union key data;  /* decrypts blocks; in CTR mode, it encrypts counters */
	union key tweak; /* of XTS: encrypts initialization vectors */
	union key essiv; /* of ESSIV */
};

/* ---- choosing ---- */

static const struct {
	const char *name;
	size_t key_bytes;
	const struct nettle_cipher *block;
} ciphers[] = {
	{"aes", AES256_KEY_SIZE, &nettle_aes256}, {"aes", AES192_KEY_SIZE, &nettle_aes192},
	{"aes", AES128_KEY_SIZE, &nettle_aes128}, {"serpent", 32, &nettle_serpent256},
	{"serpent", 24, &nettle_serpent192},      {"serpent", 16, &nettle_serpent128},
	{"twofish", 32, &nettle_twofish256},      {"twofish", 24, &nettle_twofish192},
	{"twofish", 16, &nettle_twofish128},      {"cast5", CAST128_KEY_SIZE, &nettle_cast128},
};

static bool is(struct qcow2_bytes text, const char *word)
{
	return strlen(word) == text.size && memcmp(word, text.data, text.size) == 0;
}

/* Returns NULL with *out set, or what is not known. */
static const char *find_block(struct qcow2_bytes name, size_t key_bytes,
			      const struct nettle_cipher **out)
{
	bool named = false;

	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		if (!is(name, ciphers[i].name))
			continue;
		named = true;
		if (ciphers[i].key_bytes != key_bytes)
			continue;
		*out = ciphers[i].block;
		assert((*out)->context_size <= sizeof(union key));
		return NULL;
	}
	return named ? "length of the key" : "cipher";
}

/* Cuts text at the first `at`, which belongs to neither part. Without one, the rest is empty. */
static struct qcow2_bytes cut(struct qcow2_bytes *text, uint8_t at)
{
	const uint8_t *found = text->size > 0 ? memchr(text->data, at, text->size) : NULL;
	struct qcow2_bytes rest = {NULL, 0};

	if (!found)
		return rest;
	rest.data = found + 1;
	rest.size = text->size - (size_t)(rest.data - text->data);
	text->size = (size_t)(found - text->data);
	return rest;
}

static const char *choose_mode(struct qcow2_bytes mode, struct q2_cipher_choice *out)
{
	static const char *const names[] = {[Q2_CIPHER_ECB] = "ecb",
					    [Q2_CIPHER_CBC] = "cbc",
					    [Q2_CIPHER_CTR] = "ctr",
					    [Q2_CIPHER_XTS] = "xts"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!is(mode, names[i]))
			continue;
		out->mode = (enum q2_cipher_mode)i;
		return NULL;
	}
	return "mode";
}

/* ESSIV encrypts with the same cipher, whose key is as long as the digest of the hash. */
static const char *choose_essiv(struct qcow2_bytes name, struct qcow2_bytes hash,
				struct q2_cipher_choice *out)
{
	out->iv = Q2_CIPHER_ESSIV;
	out->essiv_hash = q2_crypto_hash_find(hash);
	if (!out->essiv_hash ||
	    find_block(name, q2_crypto_hash_bytes(out->essiv_hash), &out->essiv_block) != NULL)
		return "initialization vector";
	return NULL;
}

static const char *choose_iv(struct qcow2_bytes name, struct qcow2_bytes iv,
			     struct q2_cipher_choice *out)
{
	struct qcow2_bytes hash = cut(&iv, ':');

	/* QEMU writes one for ECB, too, where it has no use. */
	if (out->mode == Q2_CIPHER_ECB)
		return NULL;
	if (is(iv, "essiv"))
		return choose_essiv(name, hash, out);
	if (is(iv, "plain64"))
		out->iv = Q2_CIPHER_PLAIN64;
	else if (is(iv, "plain"))
		out->iv = Q2_CIPHER_PLAIN;
	else
		return "initialization vector";
	return NULL;
}

const char *q2_cipher_choose(struct qcow2_bytes name, struct qcow2_bytes mode, size_t key_bytes,
			     struct q2_cipher_choice *out)
{
	struct qcow2_bytes iv = cut(&mode, '-');
	size_t one_key = key_bytes;
	const char *unknown;

	*out = (struct q2_cipher_choice){.key_bytes = key_bytes,
					 .sector_bytes = Q2_CIPHER_SECTOR_BYTES};
	unknown = choose_mode(mode, out);
	if (unknown)
		return unknown;
	if (out->mode == Q2_CIPHER_XTS)
		one_key = key_bytes % 2 ? 0 : key_bytes / 2;
	unknown = find_block(name, one_key, &out->block);
	if (unknown)
		return unknown;
	/* XTS is defined for blocks of 128 bits alone. */
	if (out->mode == Q2_CIPHER_XTS && out->block->block_size != BLOCK_BYTES_MAX)
		return "mode";
	return choose_iv(name, iv, out);
}

/* ---- keys ---- */

struct q2_cipher *q2_cipher_new(const struct q2_cipher_choice *choice, const uint8_t *key)
{
	struct q2_cipher *cipher = q2_alloc(sizeof(*cipher));
	uint8_t digest[Q2_CRYPTO_HASH_BYTES_MAX];

	if (!cipher)
		return NULL;
	cipher->choice = *choice;
	if (choice->mode == Q2_CIPHER_CTR)
		choice->block->set_encrypt_key(&cipher->data, key);
	else
		choice->block->set_decrypt_key(&cipher->data, key);
	if (choice->mode == Q2_CIPHER_XTS)
		choice->block->set_encrypt_key(&cipher->tweak, key + choice->key_bytes / 2);
	if (choice->iv == Q2_CIPHER_ESSIV) {
		q2_crypto_hash(choice->essiv_hash, (struct qcow2_bytes){key, choice->key_bytes},
			       (struct qcow2_bytes){NULL, 0}, digest);
		choice->essiv_block->set_encrypt_key(&cipher->essiv, digest);
		q2_wipe(digest, sizeof(digest));
	}
	return cipher;
}

void q2_cipher_free(struct q2_cipher *cipher)
{
	if (!cipher)
		return;
	q2_wipe(cipher, sizeof(*cipher));
	q2_free(cipher);
}

/* ---- decrypting ---- */

static size_t sectors_in(const struct q2_cipher *cipher, size_t size)
{
	return (size + cipher->choice.sector_bytes - 1) / cipher->choice.sector_bytes;
}

/* Makes the initialization vectors of up to STEP sectors, a block each. */
static void make_ivs(const struct q2_cipher *cipher, uint64_t sector, size_t count, uint8_t *ivs)
{
	size_t block_bytes = cipher->choice.block->block_size;

	memset(ivs, 0, count * block_bytes);
	for (size_t i = 0; i < count; i++) {
		uint64_t number = cipher->choice.iv == Q2_CIPHER_PLAIN ? (uint32_t)sector : sector;

		number = q2_little_endian(number);
		memcpy(ivs + i * block_bytes, &number, sizeof(number));
		sector += cipher->choice.sector_bytes / Q2_CIPHER_SECTOR_BYTES;
	}
	if (cipher->choice.iv == Q2_CIPHER_ESSIV)
		cipher->choice.essiv_block->encrypt(&cipher->essiv, count * block_bytes, ivs, ivs);
}

/* Makes the tweaks of all blocks of a sector: each one is the one before times x in GF(2^128). */
static void make_tweaks(const uint8_t *first, size_t sector_bytes, uint64_t *tweaks)
{
	uint64_t low, high, carry;

	memcpy(&low, first, sizeof(low));
	memcpy(&high, first + sizeof(low), sizeof(high));
	low = q2_little_endian(low);
	high = q2_little_endian(high);
	for (size_t i = 0; i < sector_bytes / sizeof(uint64_t); i += 2) {
		tweaks[i] = q2_little_endian(low);
		tweaks[i + 1] = q2_little_endian(high);
		carry = high >> TOP_BIT ? 0x87 : 0; /* x^128 = x^7 + x^2 + x + 1 */
		high = high << 1 | low >> TOP_BIT;
		low = low << 1 ^ carry;
	}
}

static void decrypt_xts(const struct q2_cipher *cipher, uint8_t *ivs, uint8_t *bytes, size_t size)
{
	const struct nettle_cipher *block = cipher->choice.block;
	size_t sectors = sectors_in(cipher, size), sector_bytes = cipher->choice.sector_bytes;
	uint64_t tweaks[STEP_BYTES / sizeof(uint64_t)];

	block->encrypt(&cipher->tweak, sectors * BLOCK_BYTES_MAX, ivs, ivs);
	for (size_t i = 0; i < sectors; i++)
		make_tweaks(ivs + i * BLOCK_BYTES_MAX, sector_bytes,
			    tweaks + i * (sector_bytes / sizeof(uint64_t)));
	memxor(bytes, tweaks, size);
	block->decrypt(&cipher->data, size, bytes, bytes);
	memxor(bytes, tweaks, size);
}

/* Decrypts one sector, or less of it. */
static void decrypt_chained(const struct q2_cipher *cipher, uint8_t *iv, uint8_t *bytes,
			    size_t size)
{
	const struct nettle_cipher *block = cipher->choice.block;

	if (cipher->choice.mode == Q2_CIPHER_CBC)
		cbc_decrypt(&cipher->data, block->decrypt, block->block_size, iv, size, bytes,
			    bytes);
	else
		ctr_crypt(&cipher->data, block->encrypt, block->block_size, iv, size, bytes, bytes);
}

/* Decrypts up to STEP sectors. */
static void decrypt_step(const struct q2_cipher *cipher, uint64_t sector, uint8_t *bytes,
			 size_t size)
{
	const struct nettle_cipher *block = cipher->choice.block;
	const size_t sector_bytes = cipher->choice.sector_bytes;
	uint8_t ivs[STEP * BLOCK_BYTES_MAX], *iv = ivs;

	if (cipher->choice.mode == Q2_CIPHER_ECB) {
		block->decrypt(&cipher->data, size, bytes, bytes);
		return;
	}
	make_ivs(cipher, sector, sectors_in(cipher, size), ivs);
	if (cipher->choice.mode == Q2_CIPHER_XTS) {
		decrypt_xts(cipher, ivs, bytes, size);
		return;
	}
	for (size_t done = 0; done < size; done += sector_bytes, iv += block->block_size)
		decrypt_chained(cipher, iv, bytes + done,
				size - done < sector_bytes ? size - done : sector_bytes);
}

void q2_cipher_decrypt(const struct q2_cipher *cipher, uint64_t sector, uint8_t *bytes, size_t size)
{
	assert(size % cipher->choice.block->block_size == 0);
	for (; size > STEP_BYTES; sector += STEP, bytes += STEP_BYTES, size -= STEP_BYTES)
		decrypt_step(cipher, sector, bytes, STEP_BYTES);
	decrypt_step(cipher, sector, bytes, size);
}
