/* SPDX-License-Identifier: MIT */
/*
 * Sets of users, each kept once and known by its number. A set is a list of spans of users, because
 * what snapshots share belongs to those that were taken one after the other.
 */
#ifndef Q2_USAGE_SETS_H
#define Q2_USAGE_SETS_H

#include "base/hash.h"
#include "usage/numbers.h"

/* The set without users. */
#define Q2_EMPTY_SET 0

/* The users [first, last]. */
struct q2_user_span {
	uint32_t first, last;
};

struct q2_set {
	size_t at; /* of its first span */
	uint32_t count;
};

struct q2_sets {
	struct q2_memory *memory;
	struct q2_hash_key key;
	struct q2_user_span *spans;
	size_t span_count, span_capacity;
	struct q2_set *sets;
	size_t count, capacity;
	struct q2_numbers by_content; /* hashes of spans */
	struct q2_numbers unions;     /* of two sets, the lower number first */
};

/* False if memory is short; release it then, too. */
bool q2_sets_init(struct q2_sets *sets, struct q2_memory *memory);
void q2_sets_release(struct q2_sets *sets);

/*
 * The number of a set of one user, or of two sets together. Q2_NO_NUMBER if memory is short, also for
 * an operand.
 */
uint32_t q2_sets_single(struct q2_sets *sets, uint32_t user);
uint32_t q2_sets_union(struct q2_sets *sets, uint32_t a, uint32_t b);

/* A set without the users from a number on. Q2_NO_NUMBER as above. */
uint32_t q2_sets_below(struct q2_sets *sets, uint32_t set, uint32_t user);

/* The spans of a set, which rise and do not touch. Valid until a set is added. */
static inline const struct q2_user_span *q2_sets_spans(const struct q2_sets *sets, uint32_t set,
						       uint32_t *count)
{
	*count = sets->sets[set].count;
	return sets->spans + sets->sets[set].at;
}

#endif
