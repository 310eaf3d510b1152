/* SPDX-License-Identifier: MIT */
/* See luks1.h. */
#include "guest/luks1.h"

#include <string.h>

#include "base/error.h"

#define HEADER_BYTES sizeof(struct qcow2_luks1)
#define SLOT_BYTES   sizeof(struct qcow2_luks1_key_slot)

/* The text in a field of the header, up to the first NUL. */
static struct qcow2_bytes text_in(const uint8_t *field, size_t size)
{
	const uint8_t *end = memchr(field, 0, size);

	return (struct qcow2_bytes){field, end ? (size_t)(end - field) : size};
}

int q2_luks1_judge(struct q2_luks1 *luks, const struct q2_luks_area *area, const uint8_t *raw,
		   struct qcow2_error *err)
{
	const struct qcow2_luks1 *h = &luks->header;
	struct qcow2_bytes cipher, mode, hash;
	const char *unknown;

	qcow2_luks1_decode(&luks->header, raw, HEADER_BYTES);
	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++)
		qcow2_luks1_key_slot_decode(&luks->slots[i], raw + HEADER_BYTES + i * SLOT_BYTES,
					    SLOT_BYTES);
	cipher = text_in(h->cipher_name, sizeof(h->cipher_name));
	mode = text_in(h->cipher_mode, sizeof(h->cipher_mode));
	hash = text_in(h->hash_spec, sizeof(h->hash_spec));
	unknown = q2_cipher_choose(cipher, mode, h->key_bytes, &luks->choice);
	if (unknown)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, area->offset_bytes,
			       "LUKS with the cipher '%.*s', mode '%.*s' and a key of %u bytes: "
			       "the %s is not known",
			       (int)cipher.size, (const char *)cipher.data, (int)mode.size,
			       (const char *)mode.data, h->key_bytes, unknown);
	luks->hash = q2_crypto_hash_find(hash);
	if (!luks->hash)
		return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, area->offset_bytes,
			       "LUKS with the hash '%.*s', which is not known", (int)hash.size,
			       (const char *)hash.data);
	if (h->mk_digest_iter == 0)
		return q2_fail(err, QCOW2_ERROR_BROKEN, area->offset_bytes,
			       "the digest of the LUKS key has no iterations");
	return 0;
}

static struct q2_luks_digest digest_of(const struct q2_luks1 *luks)
{
	const struct qcow2_luks1 *h = &luks->header;

	return (struct q2_luks_digest){
		.way = {luks->hash,
			{h->mk_digest_salt, sizeof(h->mk_digest_salt)},
			h->mk_digest_iter},
		.bytes = h->mk_digest,
		.size = sizeof(h->mk_digest),
	};
}

static struct q2_luks_slot slot_of(const struct q2_luks1 *luks,
				   const struct qcow2_luks1_key_slot *slot)
{
	return (struct q2_luks_slot){
		.pbkdf2 = {luks->hash, {slot->salt, sizeof(slot->salt)}, slot->iterations},
		.choice = luks->choice,
		.material_at = (uint64_t)slot->key_material_offset * QCOW2_LUKS_SECTOR_BYTES,
		.stripes = slot->stripes,
		.split_hash = luks->hash,
	};
}

int q2_luks1_unlock(const struct q2_luks1 *luks, struct q2_luks_attempt *attempt, uint8_t *key,
		    struct qcow2_error *err)
{
	attempt->digest = digest_of(luks);
	attempt->key_bytes = luks->choice.key_bytes;
	for (size_t i = 0; i < QCOW2_LUKS1_SLOTS; i++) {
		struct q2_luks_slot slot = slot_of(luks, &luks->slots[i]);
		int found;

		if (luks->slots[i].active == QCOW2_LUKS1_SLOT_INACTIVE)
			continue;
		/* Key material lies behind the header. */
		if (luks->slots[i].active != QCOW2_LUKS1_SLOT_ACTIVE ||
		    slot.material_at < Q2_LUKS1_BYTES) {
			attempt->damaged++;
			continue;
		}
		found = q2_luks_slot_try(attempt, &slot, key, err);
		if (found != 0)
			return found > 0 ? 0 : -1;
	}
	return q2_luks_slot_refuse(attempt, err);
}
