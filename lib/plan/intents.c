/* SPDX-License-Identifier: MIT */
/* See intents.h. */
#include "plan/intents.h"

#define INTENTS_MOST ((size_t)1 << 22)
/* Kinds of hashes beside those of intents, which are 1 + enum qcow2_intent. */
#define ANY     UINT64_C(0x100)
#define RENAMED UINT64_C(0x200)

void q2_intents_init(struct q2_intents *intents)
{
	q2_name_set_init(&intents->set, INTENTS_MOST);
	q2_hash_key_make(&intents->key);
}

void q2_intents_release(struct q2_intents *intents)
{
	q2_name_set_release(&intents->set);
}

/* An inventory changes the low half of the key: changing the high half keeps hashes apart. */
static uint64_t hash_of(const struct q2_intents *intents, uint64_t kind, struct qcow2_bytes name)
{
	struct q2_hash_key key = {intents->key.low, intents->key.high ^ (kind << 32)};

	return q2_hash(&key, name);
}

/* The hash for all names of an intent. */
static uint64_t hash_of_any(const struct q2_intents *intents, enum qcow2_intent intent)
{
	return hash_of(intents, ANY + (uint64_t)intent, (struct qcow2_bytes){NULL, 0});
}

bool q2_intents_add(struct q2_intents *intents, enum qcow2_intent intent, struct qcow2_bytes name)
{
	uint64_t earlier, hash = name.data ? hash_of(intents, 1 + (uint64_t)intent, name)
					   : hash_of_any(intents, intent);

	return q2_name_set_insert(&intents->set, hash, 0, &earlier) == QCOW2_ERROR_NONE;
}

bool q2_is_intended(const struct q2_intents *intents, enum qcow2_intent intent,
		    struct qcow2_bytes name)
{
	return q2_name_set_find(&intents->set, hash_of_any(intents, intent)) != Q2_NAME_SET_NEW ||
	       q2_name_set_find(&intents->set, hash_of(intents, 1 + (uint64_t)intent, name)) !=
		       Q2_NAME_SET_NEW;
}

uint64_t q2_hash_bitmap(const struct q2_hash_key *key, struct qcow2_bytes name)
{
	/* Snapshots and extensions have other kinds: see guards/inventory.c. */
	const struct q2_hash_key own = {key->low ^ Q2_HASH_KIND_BITMAP, key->high};

	return q2_hash(&own, name);
}

uint64_t q2_name_before(const struct q2_intents *intents, struct qcow2_bytes new_name)
{
	uint64_t old = q2_name_set_find(&intents->set, hash_of(intents, RENAMED, new_name));

	return old != Q2_NAME_SET_NEW ? old : q2_hash_bitmap(&intents->key, new_name);
}

bool q2_intents_rename(struct q2_intents *intents, struct qcow2_bytes old_name,
		       struct qcow2_bytes new_name)
{
	static const enum qcow2_intent kept[] = {QCOW2_INTENT_BITMAP_MADE,
						 QCOW2_INTENT_BITMAP_WRITTEN};
	uint64_t earlier, old = q2_name_before(intents, old_name);

	if (old == Q2_NAME_SET_NEW)
		old--;
	/* The plan vouches for what it made or wrote, under any name. */
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (q2_is_intended(intents, kept[i], old_name) &&
		    !q2_intents_add(intents, kept[i], new_name))
			return false;
	return q2_name_set_insert(&intents->set, hash_of(intents, RENAMED, new_name), old,
				  &earlier) == QCOW2_ERROR_NONE;
}
