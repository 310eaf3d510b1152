/* SPDX-License-Identifier: MIT */
/*
 * Decrypts sectors, each of which has a number that its initialization vector says. Sectors have 512
 * bytes or more; numbers count 512 bytes whatever a sector has, as LUKS2 and dm-crypt do.
 */
#ifndef Q2_CODEC_CIPHER_H
#define Q2_CODEC_CIPHER_H

#include <qcow2/base.h>

struct nettle_cipher;
struct nettle_hash;

#define Q2_CIPHER_SECTOR_BYTES     512
#define Q2_CIPHER_SECTOR_BYTES_MAX 4096
/* The longest key: two of 256 bits, for XTS. */
#define Q2_CIPHER_KEY_BYTES_MAX 64

enum q2_cipher_mode {
	Q2_CIPHER_ECB, /* each block by itself: equal blocks look alike */
	Q2_CIPHER_CBC,
	Q2_CIPHER_CTR,
	Q2_CIPHER_XTS,
};

/* How an initialization vector is made of the number of a sector. */
enum q2_cipher_iv {
	Q2_CIPHER_NO_IV,
	Q2_CIPHER_PLAIN,   /* its lower 32 bits */
	Q2_CIPHER_PLAIN64, /* all of it */
	Q2_CIPHER_ESSIV,   /* all of it, encrypted with a hash of the key */
};

/* A way to encrypt. */
struct q2_cipher_choice {
	const struct nettle_cipher *block;
	enum q2_cipher_mode mode;
	enum q2_cipher_iv iv;
	const struct nettle_hash *essiv_hash;    /* of ESSIV, else NULL */
	const struct nettle_cipher *essiv_block; /* likewise */
	size_t key_bytes;
	/* Q2_CIPHER_SECTOR_BYTES, or twice that and so on up to Q2_CIPHER_SECTOR_BYTES_MAX. */
	size_t sector_bytes;
};

/*
 * Finds the way that the names in a LUKS header mean: name "aes", "serpent", "twofish" or "cast5";
 * mode "xts-plain64", "cbc-essiv:sha256" and the like. key_bytes: the length of the key. Sectors have
 * Q2_CIPHER_SECTOR_BYTES; who wants more changes sector_bytes.
 *
 * Returns NULL with *out filled, or what is not known: "cipher", "mode", "initialization vector" or
 * "length of the key".
 */
const char *q2_cipher_choose(struct qcow2_bytes name, struct qcow2_bytes mode, size_t key_bytes,
			     struct q2_cipher_choice *out);

struct q2_cipher;

/* Takes a key of choice->key_bytes bytes, which it copies. NULL if memory is short. */
struct q2_cipher *q2_cipher_new(const struct q2_cipher_choice *choice, const uint8_t *key);

/* Forgets the key and frees. NULL is fine. */
void q2_cipher_free(struct q2_cipher *cipher);

/*
 * Decrypts sectors in place. sector: the number of the first one, in units of 512 bytes. size: whole
 * sectors, or the last one shorter, by whole blocks of 16 bytes. Thread safe.
 */
void q2_cipher_decrypt(const struct q2_cipher *cipher, uint64_t sector, uint8_t *bytes,
		       size_t size);

#endif
