/* SPDX-License-Identifier: MIT */
/*
 * What the maker of a plan means to take away or to make, see qcow2_plan_intend(). The guards ask
 * before they refuse. Names are kept as keyed hashes, so that a hostile name costs eight bytes.
 */
#ifndef Q2_PLAN_INTENTS_H
#define Q2_PLAN_INTENTS_H

#include <qcow2/edit.h>

#include "base/hash.h"

/*
 * Inventories mix the kind of a thing into the key, so that a snapshot and a bitmap of one name
 * differ. The kind of a bitmap is known here as well.
 */
#define Q2_HASH_KIND_BITMAP UINT64_C(4)

struct q2_intents {
	struct q2_name_set set;
	struct q2_hash_key key; /* of inventories, too, so that their hashes can be compared */
};

/* Allocates nothing. */
void q2_intents_init(struct q2_intents *intents);
void q2_intents_release(struct q2_intents *intents);

/* Notes an intent for a name, or for all names if name.data is NULL. False if memory is short. */
bool q2_intents_add(struct q2_intents *intents, enum qcow2_intent intent, struct qcow2_bytes name);

/* Whether the intent was noted for that name or for all names. */
bool q2_is_intended(const struct q2_intents *intents, enum qcow2_intent intent,
		    struct qcow2_bytes name);

/* Notes that a bitmap gets another name; what was meant of the old name holds for the new one. */
bool q2_intents_rename(struct q2_intents *intents, struct qcow2_bytes old_name,
		       struct qcow2_bytes new_name);

/* The hash under which inventories list a bitmap of that name. */
uint64_t q2_hash_bitmap(const struct q2_hash_key *key, struct qcow2_bytes name);

/* That hash, of the name that a bitmap of the planned image had before the plan. */
uint64_t q2_name_before(const struct q2_intents *intents, struct qcow2_bytes new_name);

#endif
