/* SPDX-License-Identifier: MIT */
/* The key slots of a LUKS2 header. A slot that makes no sense does not keep another one from opening. */
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "guest/luks2.h"
#include "guest/luks2_members.h"

/* The number of a slot, with a NUL. */
#define NUMBER_BYTES 4
/* Those of a higher number are tried first; one that has none is 1. */
#define PRIORITY_MOST 2

/* A slot, with what its numbers lead to. */
struct slot {
	struct q2_luks_slot tried;
	uint8_t salt[Q2_LUKS2_SALT_BYTES];
};

enum verdict {
	SLOT_FINE,
	SLOT_DAMAGED,
	SLOT_UNKNOWN, /* a way of making keys that is not known here */
};

/* ---- the list ---- */

/* Where the key material of the slots seen so far is. */
struct areas {
	uint64_t offset[Q2_LUKS2_OBJECTS], size[Q2_LUKS2_OBJECTS];
	size_t count;
	uint32_t seen; /* a bit for each number */
};

static int refuse(const struct q2_luks_area *area, enum qcow2_error_code code, const char *why,
		  struct qcow2_error *err)
{
	return q2_fail(err, code, area->offset_bytes, "LUKS version 2: %s", why);
}

/* Whether a slot has a number of its own, and key material that no other slot has. */
static bool is_apart(struct areas *areas, struct qcow2_bytes key, struct qcow2_bytes slot)
{
	struct qcow2_bytes area = q2_luks2_object(slot, "area");
	uint64_t number, offset, size;

	if (!q2_json_decimal(key, &number) || number >= Q2_LUKS2_OBJECTS ||
	    (areas->seen >> number & 1) != 0)
		return false;
	areas->seen |= UINT32_C(1) << number;
	/* Without a place it opens nothing, and is counted as damaged later. */
	if (!q2_luks2_decimal(area, "offset", &offset) || !q2_luks2_decimal(area, "size", &size))
		return true;
	for (size_t i = 0; i < areas->count; i++)
		if (q2_ranges_overlap(offset, size, areas->offset[i], areas->size[i]))
			return false;
	areas->offset[areas->count] = offset;
	areas->size[areas->count++] = size;
	return true;
}

/* Whether a slot holds the key of the data: others hold keys of nothing, or of something else. */
static bool is_bound(const struct q2_luks2 *luks, struct qcow2_bytes key)
{
	char number[NUMBER_BYTES];

	return q2_json_text(key, number, sizeof(number)) &&
	       q2_luks2_lists(luks->digest_slots, number);
}

int q2_luks2_judge_slots(const struct q2_luks2 *luks, const struct q2_luks_area *area,
			 uint64_t *key_bytes, struct qcow2_error *err)
{
	struct q2_json_items items = q2_json_items(q2_luks2_object(luks->json, "keyslots"));
	struct areas areas = {.count = 0};
	struct qcow2_bytes key, slot;

	*key_bytes = 0;
	while (q2_json_next(&items, &key, &slot)) {
		if (!is_apart(&areas, key, slot))
			return refuse(area, QCOW2_ERROR_BROKEN,
				      "a key slot has no number of its own, or shares key material",
				      err);
		if (q2_luks2_is(slot, "type", "reencrypt"))
			return refuse(area, QCOW2_ERROR_UNSUPPORTED,
				      "its data are being reencrypted", err);
		if (*key_bytes == 0 && is_bound(luks, key))
			(void)q2_luks2_number(slot, "key_size", key_bytes);
	}
	if (*key_bytes == 0)
		return refuse(area, QCOW2_ERROR_BROKEN, "no key slot has the key of its data", err);
	return 0;
}

/* ---- a slot ---- */

static const struct nettle_hash *find_hash(const char *name)
{
	return q2_crypto_hash_find((struct qcow2_bytes){(const uint8_t *)name, strlen(name)});
}

/* A number of 32 bits. */
static bool number_in(struct qcow2_bytes object, const char *name, uint32_t *out)
{
	uint64_t number;
	bool fits = q2_luks2_number(object, name, &number) && number <= UINT32_MAX;

	*out = fits ? (uint32_t)number : 0;
	return fits;
}

static enum verdict take_pbkdf2(struct qcow2_bytes kdf, struct q2_pbkdf2 *out)
{
	char hash[Q2_LUKS2_NAME_BYTES];

	if (!q2_luks2_text(kdf, "hash", hash, sizeof(hash)) ||
	    !number_in(kdf, "iterations", &out->iterations))
		return SLOT_DAMAGED;
	out->hash = find_hash(hash);
	return out->hash ? SLOT_FINE : SLOT_UNKNOWN;
}

static enum verdict take_argon2(struct qcow2_bytes kdf, struct q2_argon2 *out)
{
	if (!q2_argon2_is_there())
		return SLOT_UNKNOWN;
	out->mixed = q2_luks2_is(kdf, "type", "argon2id");
	return number_in(kdf, "time", &out->passes) &&
			       number_in(kdf, "memory", &out->block_count) &&
			       number_in(kdf, "cpus", &out->lanes)
		       ? SLOT_FINE
		       : SLOT_DAMAGED;
}

static enum verdict take_kdf(struct qcow2_bytes kdf, struct slot *out)
{
	struct q2_luks_slot *slot = &out->tried;
	struct qcow2_bytes salt = {out->salt, 0};

	if (!q2_luks2_base64(kdf, "salt", out->salt, sizeof(out->salt), &salt.size))
		return SLOT_DAMAGED;
	slot->pbkdf2.salt = slot->argon2.salt = salt;
	if (q2_luks2_is(kdf, "type", "pbkdf2"))
		return take_pbkdf2(kdf, &slot->pbkdf2);
	slot->is_argon2 = true;
	if (q2_luks2_is(kdf, "type", "argon2i") || q2_luks2_is(kdf, "type", "argon2id"))
		return take_argon2(kdf, &slot->argon2);
	return SLOT_UNKNOWN;
}

/* How the key is spread over stripes. */
static enum verdict take_stripes(struct qcow2_bytes af, struct q2_luks_slot *slot)
{
	char hash[Q2_LUKS2_NAME_BYTES];

	if (!q2_luks2_is(af, "type", "luks1"))
		return SLOT_UNKNOWN;
	if (!number_in(af, "stripes", &slot->stripes) ||
	    !q2_luks2_text(af, "hash", hash, sizeof(hash)))
		return SLOT_DAMAGED;
	slot->split_hash = find_hash(hash);
	return slot->split_hash ? SLOT_FINE : SLOT_UNKNOWN;
}

/* Key material lies where the header says that slots are, all of it in the area of its slot. */
static enum verdict take_area(const struct q2_luks2 *luks, struct qcow2_bytes area,
			      struct q2_luks_slot *slot)
{
	char name[Q2_LUKS2_NAME_BYTES];
	uint64_t size, key_bytes;

	if (!q2_luks2_is(area, "type", "raw"))
		return SLOT_UNKNOWN;
	if (!q2_luks2_decimal(area, "offset", &slot->material_at) ||
	    !q2_luks2_decimal(area, "size", &size) || slot->material_at < luks->slots_at ||
	    !q2_range_fits(slot->material_at, size, luks->slots_end) ||
	    luks->choice.key_bytes * (uint64_t)slot->stripes > size ||
	    !q2_luks2_text(area, "encryption", name, sizeof(name)) ||
	    !q2_luks2_number(area, "key_size", &key_bytes))
		return SLOT_DAMAGED;
	return q2_luks2_choose(name, key_bytes, &slot->choice) ? SLOT_UNKNOWN : SLOT_FINE;
}

static enum verdict take_slot(const struct q2_luks2 *luks, struct qcow2_bytes value,
			      struct slot *out)
{
	enum verdict verdict;
	uint64_t key_bytes;

	memset(out, 0, sizeof(*out));
	if (!q2_luks2_is(value, "type", "luks2"))
		return SLOT_UNKNOWN;
	if (!q2_luks2_number(value, "key_size", &key_bytes) || key_bytes != luks->choice.key_bytes)
		return SLOT_DAMAGED;
	verdict = take_kdf(q2_luks2_object(value, "kdf"), out);
	if (verdict == SLOT_FINE)
		verdict = take_stripes(q2_luks2_object(value, "af"), &out->tried);
	if (verdict == SLOT_FINE)
		verdict = take_area(luks, q2_luks2_object(value, "area"), &out->tried);
	return verdict;
}

/* ---- all slots ---- */

/* As q2_luks_slot_try(). */
static int try_slot(const struct q2_luks2 *luks, struct qcow2_bytes value,
		    struct q2_luks_attempt *attempt, uint8_t *key, struct qcow2_error *err)
{
	struct slot slot;

	switch (take_slot(luks, value, &slot)) {
	case SLOT_FINE:
		return q2_luks_slot_try(attempt, &slot.tried, key, err);
	case SLOT_DAMAGED:
		attempt->damaged++;
		break;
	case SLOT_UNKNOWN:
		attempt->unknown++;
		break;
	}
	return 0;
}

/* Slots of priority 0 should be used if they are asked for; as nobody can ask, they are last. */
static uint64_t priority_of(struct qcow2_bytes slot)
{
	uint64_t priority;

	if (!q2_luks2_number(slot, "priority", &priority) || priority > PRIORITY_MOST)
		return 1;
	return priority;
}

/* Tries the slots of one priority. */
static int try_slots(const struct q2_luks2 *luks, uint64_t priority,
		     struct q2_luks_attempt *attempt, uint8_t *key, struct qcow2_error *err)
{
	struct q2_json_items items = q2_json_items(q2_luks2_object(luks->json, "keyslots"));
	struct qcow2_bytes number, slot;
	int found = 0;

	while (found == 0 && q2_json_next(&items, &number, &slot))
		if (priority_of(slot) == priority && is_bound(luks, number))
			found = try_slot(luks, slot, attempt, key, err);
	return found;
}

int q2_luks2_unlock(const struct q2_luks2 *luks, struct q2_luks_attempt *attempt, uint8_t *key,
		    struct qcow2_error *err)
{
	int found = 0;

	attempt->digest = (struct q2_luks_digest){
		.way = {luks->hash, {luks->salt, luks->salt_bytes}, luks->iterations},
		.bytes = luks->digest,
		.size = luks->digest_bytes,
	};
	attempt->key_bytes = luks->choice.key_bytes;
	for (uint64_t priority = PRIORITY_MOST + 1; priority > 0 && found == 0; priority--)
		found = try_slots(luks, priority - 1, attempt, key, err);
	if (found != 0)
		return found > 0 ? 0 : -1;
	return q2_luks_slot_refuse(attempt, err);
}
