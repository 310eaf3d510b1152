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

/* A random key, or some key if there is no randomness. */
void q2_hash_key_make(struct q2_hash_key *key);

/* SipHash-2-4 of the bytes; the key's 16 bytes are low then high, little-endian. */
uint64_t q2_hash(const struct q2_hash_key *key, struct qcow2_bytes bytes);

/*
 * Each distinct hash with the value (an index, say) that it was first inserted with. A number that
 * stands for itself, such as an offset, is a hash, too.
 */
struct q2_name_set {
	struct q2_name_slot *slots;
	size_t count;
	size_t slot_count; /* 0 or a power of two */
	size_t max_count;
	struct q2_hash_key key; /* of the places of hashes among the slots */
};

/* What *earlier is when a hash was not in the set. Not allowed as a value. */
#define Q2_NAME_SET_NEW UINT64_MAX

/* Allocates nothing. */
void q2_name_set_init(struct q2_name_set *set, size_t max_count);

void q2_name_set_release(struct q2_name_set *set);

/* The value that hash was first inserted with, or Q2_NAME_SET_NEW. */
uint64_t q2_name_set_find(const struct q2_name_set *set, uint64_t hash);

/*
 * Inserts hash with value, unless it is there already. *earlier becomes the value that the hash
 * came with first, or Q2_NAME_SET_NEW. Returns QCOW2_ERROR_NONE, or with the set unchanged
 * QCOW2_ERROR_LIMIT (max_count) or QCOW2_ERROR_MEMORY.
 *
 * Two names with equal hashes are almost surely, but not surely, equal: compare the names.
 */
enum qcow2_error_code q2_name_set_insert(struct q2_name_set *set, uint64_t hash, uint64_t value,
					 uint64_t *earlier);

#endif
