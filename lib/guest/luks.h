/* SPDX-License-Identifier: MIT */
/*
 * The LUKS header of an image, of version 1 or 2, and the key that a passphrase gets out of it ("Full
 * disk encryption header pointer").
 */
#ifndef Q2_GUEST_LUKS_H
#define Q2_GUEST_LUKS_H

#include "guest/luks1.h"
#include "guest/luks2.h"

struct q2_luks {
	struct q2_luks_area area;
	unsigned version; /* 0: the image has no LUKS header */
	struct q2_luks1 one;
	struct q2_luks2 two;
};

/*
 * Reads and judges the header; no key is needed. *luks: released with q2_luks_release(), which an
 * error has done. Returns 0, or -1 with *err filled: UNSUPPORTED, BROKEN, IO, LIMIT, MEMORY.
 */
int q2_luks_read(const struct qcow2_image *image, struct q2_luks *luks, struct qcow2_error *err);

/*
 * Tries the passphrase on one key slot after the other. memory_bytes: what Argon2 may take. *out: what
 * decrypts the data, with the number of a sector's place in the file, in units of 512 bytes, plus
 * q2_luks_tweak(). Returns 0, or -1 with *err filled: MISMATCH, BROKEN, UNSUPPORTED, IO, MEMORY, or
 * LIMIT if a slot that was not tried needs more memory, or more than QCOW2_LIMIT_LUKS_ROUNDS or
 * QCOW2_LIMIT_LUKS_ARGON2_FILLS.
 */
int q2_luks_unlock(const struct q2_luks *luks, struct qcow2_bytes passphrase, uint64_t memory_bytes,
		   struct q2_cipher **out, struct qcow2_error *err);

/* What is added to the numbers of sectors. */
uint64_t q2_luks_tweak(const struct q2_luks *luks);

/* How long a sector is that is decrypted as a whole. */
size_t q2_luks_sector_bytes(const struct q2_luks *luks);

/* Frees what the header takes. */
void q2_luks_release(struct q2_luks *luks);

#endif
