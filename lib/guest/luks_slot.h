/* SPDX-License-Identifier: MIT */
/*
 * Tries a passphrase on key slots, which both versions of LUKS have, though they write them
 * differently. What a slot costs is checked before it is spent: time as rounds of PBKDF2 and as blocks
 * that Argon2 fills, of all slots together; memory of Argon2; key material by its stripes.
 */
#ifndef Q2_GUEST_LUKS_SLOT_H
#define Q2_GUEST_LUKS_SLOT_H

#include "codec/argon2.h"
#include "codec/cipher.h"
#include "codec/crypto_hash.h"
#include "guest/luks_area.h"

#include <qcow2/error.h>

/* What a key slot says of itself. */
struct q2_luks_slot {
	/* What makes a key of the passphrase. */
	bool is_argon2;
	struct q2_pbkdf2 pbkdf2;
	struct q2_argon2 argon2;
	/* What that key decrypts: the key of the data, spread over stripes. */
	struct q2_cipher_choice choice;
	uint64_t material_at; /* from the start of the LUKS header */
	uint32_t stripes;
	const struct nettle_hash *split_hash;
};

/* By what the key of the data is known. */
struct q2_luks_digest {
	struct q2_pbkdf2 way;
	const uint8_t *bytes;
	size_t size; /* not 0, at most Q2_CRYPTO_HASH_BYTES_MAX */
};

/* What a passphrase is tried with, and what became of it. Set all but what follows `tried`. */
struct q2_luks_attempt {
	const struct q2_luks_area *area;
	struct q2_luks_digest digest;
	size_t key_bytes; /* of the data, at most Q2_CIPHER_KEY_BYTES_MAX */
	struct qcow2_bytes passphrase;
	uint64_t memory_bytes; /* that Argon2 may take */
	uint64_t rounds_left, fills_left;
	unsigned tried;
	unsigned damaged;                  /* numbers of the slot make no sense */
	unsigned unknown;                  /* it has a way of making keys that is not known here */
	unsigned unreadable;               /* the file cannot be read where its key material is */
	struct qcow2_error why_unreadable; /* of the first of these */
	unsigned too_slow, too_large;
	uint64_t least_bytes; /* of the slots that are too large, what the smallest one takes */
};

/*
 * Tries one slot, or counts why it is passed over. key: room for Q2_CIPHER_KEY_BYTES_MAX bytes.
 * Returns 1 with the key, 0 if the slot gives none, or -1 with *err filled: IO (time is over), LIMIT,
 * MEMORY.
 */
int q2_luks_slot_try(struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot, uint8_t *key,
		     struct qcow2_error *err);

/* Says why no slot has opened. Returns -1 with *err filled: IO, MISMATCH, LIMIT, UNSUPPORTED, BROKEN. */
int q2_luks_slot_refuse(const struct q2_luks_attempt *attempt, struct qcow2_error *err);

#endif
