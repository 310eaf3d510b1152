/* SPDX-License-Identifier: MIT */
/* See luks_slot.h. Every number of a slot is hostile. */
#include "guest/luks_slot.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/system.h"
#include "codec/split_key.h"

/* Programs make 4000. So many make 4 MiB of the longest key. */
#define STRIPES_MAX 65536
/* Ciphers need whole blocks, of which this is the longest. */
#define BLOCK_BYTES 16
#define MIB_BITS    20

static uint64_t material_bytes(const struct q2_luks_attempt *attempt,
			       const struct q2_luks_slot *slot)
{
	return (uint64_t)attempt->key_bytes * slot->stripes;
}

/* Whether a slot can hold a key at all. */
static bool is_sound(const struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot)
{
	return (slot->is_argon2 ? q2_argon2_is_sound(&slot->argon2)
				: slot->pbkdf2.iterations > 0) &&
	       slot->stripes > 0 && slot->stripes <= STRIPES_MAX &&
	       material_bytes(attempt, slot) % BLOCK_BYTES == 0 &&
	       q2_range_fits(slot->material_at, material_bytes(attempt, slot),
			     attempt->area->size_bytes);
}

/* Takes the time that a slot needs from what is left; false if that is not enough. */
static bool charge(struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot)
{
	uint64_t rounds = q2_pbkdf2_rounds(&attempt->digest.way, attempt->digest.size), fills = 0;

	if (slot->is_argon2)
		fills = q2_argon2_fills(&slot->argon2);
	else
		rounds += q2_pbkdf2_rounds(&slot->pbkdf2, slot->choice.key_bytes);
	if (rounds > attempt->rounds_left || fills > attempt->fills_left)
		return false;
	attempt->rounds_left -= rounds;
	attempt->fills_left -= fills;
	return true;
}

/* Whether the memory that a slot needs is allowed. */
static bool is_small(struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot)
{
	uint64_t bytes = slot->is_argon2 ? q2_argon2_bytes(&slot->argon2) : 0;

	if (bytes <= attempt->memory_bytes && bytes <= SIZE_MAX)
		return true;
	if (attempt->too_large == 0 || bytes < attempt->least_bytes)
		attempt->least_bytes = bytes;
	return false;
}

static int make_key(const struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot,
		    uint8_t *key, struct qcow2_error *err)
{
	if (!slot->is_argon2)
		q2_pbkdf2(&slot->pbkdf2, attempt->passphrase, key, slot->choice.key_bytes);
	else if (!q2_argon2(&slot->argon2, attempt->passphrase, key, slot->choice.key_bytes))
		return q2_fail_memory(err);
	return 0;
}

/* Reads the key material of a slot and decrypts it with what the passphrase says. */
static int read_material(const struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot,
			 uint8_t *material, struct qcow2_error *err)
{
	size_t size = (size_t)material_bytes(attempt, slot);
	uint8_t key[Q2_CIPHER_KEY_BYTES_MAX];
	struct q2_cipher *cipher = NULL;
	int status = -1;

	if (q2_luks_area_read(attempt->area, slot->material_at, material, size, err) ||
	    make_key(attempt, slot, key, err))
		goto out;
	cipher = q2_cipher_new(&slot->choice, key);
	if (!cipher) {
		q2_fail_memory(err);
		goto out;
	}
	/* Sectors count from the start of the material. */
	q2_cipher_decrypt(cipher, 0, material, size);
	status = 0;
out:
	q2_cipher_free(cipher);
	q2_wipe(key, sizeof(key));
	return status;
}

/* Whether a key is the one of the data. */
static bool is_the_key(const struct q2_luks_attempt *attempt, const uint8_t *key)
{
	const struct q2_luks_digest *digest = &attempt->digest;
	uint8_t made[Q2_CRYPTO_HASH_BYTES_MAX];

	q2_pbkdf2(&digest->way, (struct qcow2_bytes){key, attempt->key_bytes}, made, digest->size);
	return memcmp(made, digest->bytes, digest->size) == 0;
}

static int open_slot(const struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot,
		     uint8_t *key, struct qcow2_error *err)
{
	size_t size = (size_t)material_bytes(attempt, slot);
	uint8_t *material = q2_alloc_buffer(size);
	int result = -1;

	if (!material)
		return q2_fail_memory(err);
	if (read_material(attempt, slot, material, err) == 0) {
		q2_split_key_join(slot->split_hash, material, slot->stripes, key,
				  attempt->key_bytes);
		result = is_the_key(attempt, key);
	}
	q2_wipe(material, size);
	q2_free(material);
	return result;
}

int q2_luks_slot_try(struct q2_luks_attempt *attempt, const struct q2_luks_slot *slot, uint8_t *key,
		     struct qcow2_error *err)
{
	struct qcow2_error why;
	int result;

	if (!is_sound(attempt, slot)) {
		attempt->damaged++;
		return 0;
	}
	if (!is_small(attempt, slot)) {
		attempt->too_large++;
		return 0;
	}
	if (!charge(attempt, slot)) {
		attempt->too_slow++;
		return 0;
	}
	result = open_slot(attempt, slot, key, &why);
	if (result < 0 && q2_luks_area_is_bad(&why)) {
		if (attempt->unreadable++ == 0)
			attempt->why_unreadable = why;
		return 0;
	}
	attempt->tried++;
	if (result < 0 && err)
		*err = why;
	return result;
}

static int refuse_unreadable(const struct q2_luks_attempt *attempt, struct qcow2_error *err)
{
	if (err)
		*err = attempt->why_unreadable;
	q2_error_append(
		err, "a key slot of the LUKS header keeps its key there, and no other one opens");
	return -1;
}

/* Slots that were not tried because of what they would cost. */
static int refuse_costs(const struct q2_luks_attempt *attempt, struct qcow2_error *err)
{
	uint64_t at = attempt->area->offset_bytes;

	if (attempt->too_large > 0)
		return q2_fail(err, QCOW2_ERROR_LIMIT, at,
			       "a key slot needs %llu MiB of memory for Argon2, and its memory "
			       "limit is %llu MiB",
			       (unsigned long long)((attempt->least_bytes - 1) >> MIB_BITS) + 1,
			       (unsigned long long)(attempt->memory_bytes >> MIB_BITS));
	return q2_fail(err, QCOW2_ERROR_LIMIT, at,
		       "%u key slots of the LUKS header need too many iterations (luks-rounds, "
		       "luks-argon2-fills)",
		       attempt->too_slow);
}

static int refuse_unknown(const struct q2_luks_attempt *attempt, struct qcow2_error *err)
{
	return q2_fail(err, QCOW2_ERROR_UNSUPPORTED, attempt->area->offset_bytes,
		       "%u key slots make keys in a way that is not known%s", attempt->unknown,
		       q2_argon2_is_there() ? "" : "; the library was built without Argon2");
}

int q2_luks_slot_refuse(const struct q2_luks_attempt *attempt, struct qcow2_error *err)
{
	uint64_t at = attempt->area->offset_bytes;

	if (attempt->unreadable > 0)
		return refuse_unreadable(attempt, err);
	if (attempt->too_large + attempt->too_slow > 0)
		return refuse_costs(attempt, err);
	if (attempt->unknown > 0)
		return refuse_unknown(attempt, err);
	if (attempt->tried > 0 && attempt->damaged > 0)
		return q2_fail(err, QCOW2_ERROR_MISMATCH, at,
			       "the passphrase opens no key slot, and %u other slots are damaged",
			       attempt->damaged);
	if (attempt->tried > 0)
		return q2_fail(err, QCOW2_ERROR_MISMATCH, QCOW2_NO_OFFSET,
			       "the passphrase opens no key slot");
	return q2_fail(err, QCOW2_ERROR_BROKEN, at,
		       attempt->damaged > 0 ? "all key slots of the LUKS header are damaged"
					    : "no key slot of the LUKS header is active");
}
