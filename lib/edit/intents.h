/* SPDX-License-Identifier: MIT */
/* What those who made a plan meant to take away or to make. See qcow2_plan_intend(). */
#ifndef QCOW2_EDIT_INTENTS_H
#define QCOW2_EDIT_INTENTS_H

#include <qcow2/edit.h>

#include "base/hash.h"

struct qcow2_intents {
	struct qcow2_name_set set;
	struct qcow2_hash_key key; /* of inventories, too, so that their hashes can be compared */
};

/* Allocates nothing. */
void qcow2_intents_init(struct qcow2_intents *intents);
void qcow2_intents_release(struct qcow2_intents *intents);

/* Whether it was meant, under that name or for all names. */
bool qcow2_is_intended(const struct qcow2_plan *plan, enum qcow2_intent intent,
		       struct qcow2_bytes name);

/* Notes that a bitmap gets another name. False if memory is short. */
bool qcow2_plan_renames(struct qcow2_plan *plan, struct qcow2_bytes old_name,
			struct qcow2_bytes new_name);

/* The hash, as in an inventory, of the name that a bitmap of the image will have had before. */
uint64_t qcow2_name_before(const struct qcow2_intents *intents, struct qcow2_bytes new_name);

#endif
