/* SPDX-License-Identifier: MIT */
/* Keys made of passphrases by Argon2 (RFC 9106), which takes memory besides time. */
#ifndef Q2_CODEC_ARGON2_H
#define Q2_CODEC_ARGON2_H

#include <qcow2/base.h>

#define Q2_ARGON2_BLOCK_BYTES    1024
#define Q2_ARGON2_SALT_BYTES_MIN 8

/* How a passphrase is made a key. */
struct q2_argon2 {
	bool mixed;           /* Argon2id; else Argon2i */
	uint32_t passes;      /* "t" */
	uint32_t block_count; /* "m": memory in blocks of 1 KiB */
	uint32_t lanes;       /* "p" */
	struct qcow2_bytes salt;
};

/* Whether the library was built with Argon2. Else there is no other function. */
bool q2_argon2_is_there(void);

/* Whether the numbers are within what the algorithm defines; how much they cost is another question. */
bool q2_argon2_is_sound(const struct q2_argon2 *how);

/* How many blocks are filled: it takes as long. Never overflows. */
uint64_t q2_argon2_fills(const struct q2_argon2 *how);

/* How much memory it takes. */
uint64_t q2_argon2_bytes(const struct q2_argon2 *how);

/*
 * Makes a key of key_bytes bytes, at least 4, of a passphrase. how: sound. One thread does the work,
 * however many lanes there are: the result is the same. Returns false if memory is short.
 */
bool q2_argon2(const struct q2_argon2 *how, struct qcow2_bytes passphrase, uint8_t *key,
	       size_t key_bytes);

#endif
