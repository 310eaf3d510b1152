/* SPDX-License-Identifier: MIT */
/* LUKS version 1: the header and its key slots (LUKS On-Disk Format Specification 1.2). */
#ifndef Q2_GUEST_LUKS1_H
#define Q2_GUEST_LUKS1_H

#include "guest/luks_slot.h"

#include <qcow2/format.h>
#include <qcow2/luks.h>

/* All that a header has, without key material. */
#define Q2_LUKS1_BYTES                                                                             \
	(sizeof(struct qcow2_luks1) + QCOW2_LUKS1_SLOTS * sizeof(struct qcow2_luks1_key_slot))

struct q2_luks1 {
	struct qcow2_luks1 header;
	struct qcow2_luks1_key_slot slots[QCOW2_LUKS1_SLOTS];
	struct q2_cipher_choice choice; /* of the data, and of the key material */
	const struct nettle_hash *hash;
};

/*
 * Judges a header. raw: Q2_LUKS1_BYTES. Returns 0, or -1 with *err filled: UNSUPPORTED, BROKEN.
 */
int q2_luks1_judge(struct q2_luks1 *luks, const struct q2_luks_area *area, const uint8_t *raw,
		   struct qcow2_error *err);

/*
 * Tries the passphrase on one key slot after the other. attempt: all but digest and key_bytes is set.
 * key: as q2_luks_slot_try(). Returns 0, or -1 with *err filled.
 */
int q2_luks1_unlock(const struct q2_luks1 *luks, struct q2_luks_attempt *attempt, uint8_t *key,
		    struct qcow2_error *err);

#endif
