/* SPDX-License-Identifier: MIT */
/*
 * A keyed hash (SipHash-2-4) and a set of hashes, to find equal names among many that a hostile
 * image chose. The caller brings the key; with a random one, nobody can aim for collisions.
 */
#ifndef Q2_BASE_HASH_H
#define Q2_BASE_HASH_H

#include <qcow2/base.h>
#include <qcow2/error.h>

struct q2_hash_key {
	uint64_t low;
	uint64_t high;
};

/* Makes a random key, or a fixed one if the system has no randomness to give. */
void q2_hash_key_make(struct q2_hash_key *key);

/* SipHash-2-4 of the bytes. The 16 bytes of the key are low and then high, little-endian. */
uint64_t q2_hash(const struct q2_hash_key *key, struct qcow2_bytes bytes);

/*
 * A set of hashes, each with the value (an index, for example) that it was first inserted with. A
 * number that identifies a thing, such as an offset, may serve as its hash.
 */
struct q2_name_set {
	struct q2_name_slot *slots;
	size_t count;
	size_t slot_count; /* 0 or a power of two */
	size_t max_count;
	struct q2_hash_key key; /* hashes the hashes to slots */
};

/* *earlier is this if a hash was not in the set, so it cannot be a value. */
#define Q2_NAME_SET_NEW UINT64_MAX

/* Prepares a set of at most max_count hashes. Allocates nothing. */
void q2_name_set_init(struct q2_name_set *set, size_t max_count);

void q2_name_set_release(struct q2_name_set *set);

/* Returns the value that hash was first inserted with, or Q2_NAME_SET_NEW. */
uint64_t q2_name_set_find(const struct q2_name_set *set, uint64_t hash);

/*
 * Inserts hash with value, unless it is there already. *earlier becomes the value that the hash was
 * first inserted with, or Q2_NAME_SET_NEW. Returns QCOW2_ERROR_NONE; or, with the set unchanged,
 * QCOW2_ERROR_LIMIT (there are max_count hashes) or QCOW2_ERROR_MEMORY.
 *
 * Names with equal hashes are almost certainly equal. Compare the names to be certain.
 */
enum qcow2_error_code q2_name_set_insert(struct q2_name_set *set, uint64_t hash, uint64_t value,
					 uint64_t *earlier);

#endif
