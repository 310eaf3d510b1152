/* SPDX-License-Identifier: MIT */
/* What those who made a plan meant to take away or to make. See qcow2_plan_intend(). */
#ifndef Q2_PLAN_INTENTS_H
#define Q2_PLAN_INTENTS_H

#include <qcow2/edit.h>

#include "base/hash.h"

struct q2_intents {
	struct q2_name_set set;
	struct q2_hash_key key; /* of inventories, too, so that their hashes can be compared */
};

/* Allocates nothing. */
void q2_intents_init(struct q2_intents *intents);
void q2_intents_release(struct q2_intents *intents);

/* Whether it was meant, under that name or for all names. */
bool q2_is_intended(const struct qcow2_plan *plan, enum qcow2_intent intent,
		    struct qcow2_bytes name);

/* Notes that a bitmap gets another name. False if memory is short. */
bool q2_plan_renames(struct qcow2_plan *plan, struct qcow2_bytes old_name,
		     struct qcow2_bytes new_name);

/* The hash, as in an inventory, of the name that a bitmap of the image will have had before. */
uint64_t q2_name_before(const struct q2_intents *intents, struct qcow2_bytes new_name);

#endif
