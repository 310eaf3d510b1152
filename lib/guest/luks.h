/* SPDX-License-Identifier: MIT */
/*
 * The LUKS header of an image, and the key that a passphrase gets out of it ("Full disk encryption
 * header pointer", LUKS On-Disk Format Specification 1.2).
 */
#ifndef Q2_GUEST_LUKS_H
#define Q2_GUEST_LUKS_H

#include <qcow2/format.h>
#include <qcow2/image.h>
#include <qcow2/luks.h>

#include "codec/cipher.h"

struct q2_luks {
	const struct qcow2_image *image;
	uint64_t offset_bytes; /* of the LUKS header in the file */
	uint64_t area_bytes;   /* from there on, as far as both the image and the file have it */
	struct qcow2_luks1 header;
	struct qcow2_luks1_key_slot slots[QCOW2_LUKS1_SLOTS];
	struct q2_cipher_choice choice;
	const struct nettle_hash *hash;
};

/*
 * Reads and judges the header; no key is needed. Returns 0, or -1 with *err filled: UNSUPPORTED,
 * BROKEN, IO, LIMIT.
 */
int q2_luks_read(const struct qcow2_image *image, struct q2_luks *luks, struct qcow2_error *err);

/*
 * Tries the passphrase on one key slot after the other. *out: what decrypts the data. Returns 0, or
 * -1 with *err filled: MISMATCH, BROKEN, IO, MEMORY, or LIMIT if a slot that was not tried would
 * need more than QCOW2_LIMIT_LUKS_ROUNDS.
 */
int q2_luks_unlock(const struct q2_luks *luks, struct qcow2_bytes passphrase,
		   struct q2_cipher **out, struct qcow2_error *err);

#endif
