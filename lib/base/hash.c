/* SPDX-License-Identifier: MIT */
/*
 * SipHash-2-4 after "SipHash: a fast short-input PRF" (Aumasson, Bernstein, 2012), and a set with
 * open addressing that is at most half full, so that a search soon meets an empty slot.
 */
#include "base/hash.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/system.h"

#define FIRST_SLOTS 32

/* Empty if value is Q2_NAME_SET_NEW. */
struct q2_name_slot {
	uint64_t hash;
	uint64_t value;
};

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], int rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate_left(v[1], 13) ^ v[0];
		v[3] = rotate_left(v[3], 16) ^ v[2];
		v[0] = rotate_left(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate_left(v[1], 17) ^ v[2];
		v[3] = rotate_left(v[3], 21) ^ v[0];
		v[2] = rotate_left(v[2], 32);
	}
}

/* Loads a little-endian number of up to 8 bytes on a machine of any byte order. */
static uint64_t load_le(const uint8_t *bytes, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static void sip_absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
}

uint64_t q2_hash(const struct q2_hash_key *key, struct qcow2_bytes bytes)
{
	/* The constants of the paper: "somepseudorandomlygeneratedbytes". */
	uint64_t v[4] = {
		key->low ^ 0x736f6d6570736575,
		key->high ^ 0x646f72616e646f6d,
		key->low ^ 0x6c7967656e657261,
		key->high ^ 0x7465646279746573,
	};
	size_t tail = bytes.size % 8;
	size_t whole = bytes.size - tail;
	uint64_t last = (uint64_t)(bytes.size & 0xff) << 56;

	for (size_t i = 0; i < whole; i += 8)
		sip_absorb(v, load_le(bytes.data + i, 8));
	if (tail)
		last |= load_le(bytes.data + whole, tail);
	sip_absorb(v, last);
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void q2_hash_key_make(struct q2_hash_key *key)
{
	/* Without randomness an image could aim for collisions, which cost time but no more. */
	if (!q2_random(key, sizeof(*key)))
		*key = (struct q2_hash_key){(uint64_t)(uintptr_t)key, 1};
}

void q2_name_set_init(struct q2_name_set *set, size_t max_count)
{
	*set = (struct q2_name_set){.max_count = max_count};
}

void q2_name_set_release(struct q2_name_set *set)
{
	q2_free(set->slots);
	q2_name_set_init(set, set->max_count);
}

/*
 * Finds the slot that holds hash, or the empty one where it belongs. There is always an empty one.
 * The number is hashed once more for its place, since numbers that an image chose, such as offsets,
 * could all fall on neighbouring slots.
 */
static struct q2_name_slot *find_slot(const struct q2_hash_key *key, struct q2_name_slot *slots,
				      size_t slot_count, uint64_t hash)
{
	uint64_t place = q2_hash(key, (struct qcow2_bytes){(uint8_t *)&hash, sizeof(hash)});
	size_t i = (size_t)place & (slot_count - 1);

	while (slots[i].value != Q2_NAME_SET_NEW && slots[i].hash != hash)
		i = (i + 1) & (slot_count - 1);
	return &slots[i];
}

/* Doubles the slots if one more entry would make them more than half full. */
static bool make_room(struct q2_name_set *set)
{
	size_t slot_count = set->slot_count ? set->slot_count * 2 : FIRST_SLOTS;
	struct q2_name_slot *slots;

	if (set->count < set->slot_count / 2)
		return true;
	if (set->slot_count == 0)
		q2_hash_key_make(&set->key);
	if (slot_count < set->slot_count)
		return false;
	slots = q2_realloc_array(NULL, slot_count, sizeof(*slots));
	if (!slots)
		return false;
	for (size_t i = 0; i < slot_count; i++)
		slots[i].value = Q2_NAME_SET_NEW;
	for (size_t i = 0; i < set->slot_count; i++)
		if (set->slots[i].value != Q2_NAME_SET_NEW)
			*find_slot(&set->key, slots, slot_count, set->slots[i].hash) =
				set->slots[i];
	q2_free(set->slots);
	set->slots = slots;
	set->slot_count = slot_count;
	return true;
}

uint64_t q2_name_set_find(const struct q2_name_set *set, uint64_t hash)
{
	if (set->slot_count == 0)
		return Q2_NAME_SET_NEW;
	return find_slot(&set->key, set->slots, set->slot_count, hash)->value;
}

enum qcow2_error_code q2_name_set_insert(struct q2_name_set *set, uint64_t hash, uint64_t value,
					 uint64_t *earlier)
{
	struct q2_name_slot *slot;

	assert(value != Q2_NAME_SET_NEW);
	*earlier = Q2_NAME_SET_NEW;
	if (set->slot_count) {
		slot = find_slot(&set->key, set->slots, set->slot_count, hash);
		*earlier = slot->value;
		if (*earlier != Q2_NAME_SET_NEW)
			return QCOW2_ERROR_NONE;
	}
	if (set->count >= set->max_count)
		return QCOW2_ERROR_LIMIT;
	if (!make_room(set))
		return QCOW2_ERROR_MEMORY;
	slot = find_slot(&set->key, set->slots, set->slot_count, hash);
	slot->hash = hash;
	slot->value = value;
	set->count++;
	return QCOW2_ERROR_NONE;
}
