/* SPDX-License-Identifier: MIT */
/*
 * LUKS version 2 (LUKS2 On-Disk Format Specification): luks2_copy.c finds the newest sound copy of the
 * header, luks2_data.c reads what its JSON says of the data, luks2_slots.c of the key slots.
 *
 * LUKS2 is made for whole devices. Of an image, it is read as QEMU writes LUKS1 into images: the area
 * has headers and key material alone; a sector of the data has the number of its place in the file,
 * plus iv_tweak; the segment's offset says nothing.
 */
#ifndef Q2_GUEST_LUKS2_H
#define Q2_GUEST_LUKS2_H

#include "guest/luks_slot.h"

/* The longest salt that is taken; programs make 32 bytes. */
#define Q2_LUKS2_SALT_BYTES 64
/* The longest way to encrypt, as "aes-xts-plain64", with a NUL. */
#define Q2_LUKS2_NAME_BYTES 64
/* The most objects of a kind: slots, segments, digests. */
#define Q2_LUKS2_OBJECTS 32

struct q2_luks2 {
	uint8_t *copy; /* of the header, on the heap */
	struct qcow2_bytes json;
	uint64_t slots_at, slots_end; /* where key material may be, from the start of the header */
	/* The data. The choice has the length of their key. */
	struct q2_cipher_choice choice;
	uint64_t tweak_sectors;
	/* The digest of their key. */
	const struct nettle_hash *hash;
	uint8_t salt[Q2_LUKS2_SALT_BYTES], digest[Q2_CRYPTO_HASH_BYTES_MAX];
	size_t salt_bytes, digest_bytes;
	uint32_t iterations;
	struct qcow2_bytes digest_slots; /* an array of the slots that hold that key */
};

/*
 * Looks for a sound copy of the header, of which the newest one counts, also where the first one is
 * damaged. Sets copy, json and slots_at of *luks. Returns 1, 0 if there is none, or -1 with *err
 * filled: IO, LIMIT, MEMORY.
 */
int q2_luks2_find(struct q2_luks2 *luks, const struct q2_luks_area *area, struct qcow2_error *err);

/*
 * Judges whether the data can be decrypted, and sets what *luks says of them. Returns 0, or -1 with
 * *err filled: UNSUPPORTED, BROKEN.
 */
int q2_luks2_judge(struct q2_luks2 *luks, const struct q2_luks_area *area, struct qcow2_error *err);

/* Judges the list of key slots, and finds the length of the key of the data. As q2_luks2_judge(). */
int q2_luks2_judge_slots(const struct q2_luks2 *luks, const struct q2_luks_area *area,
			 uint64_t *key_bytes, struct qcow2_error *err);

/* As q2_luks1_unlock(). */
int q2_luks2_unlock(const struct q2_luks2 *luks, struct q2_luks_attempt *attempt, uint8_t *key,
		    struct qcow2_error *err);

/* Finds a way to encrypt by its whole name. Returns NULL with *out filled, or what is not known. */
const char *q2_luks2_choose(const char *name, uint64_t key_bytes, struct q2_cipher_choice *out);

/* Frees what is on the heap. */
void q2_luks2_release(struct q2_luks2 *luks);

#endif
