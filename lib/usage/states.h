/* SPDX-License-Identifier: MIT */
/*
 * What is known of a host cluster: what it is for, and who refers to it. The few states that occur
 * are kept once each and known by number, so that a cluster costs a byte. 0 is the state of a
 * cluster that nothing refers to.
 *
 * Threads share the states and find new ones under a lock; each has a joiner, which remembers what it
 * has found.
 */
#ifndef Q2_USAGE_STATES_H
#define Q2_USAGE_STATES_H

#include <pthread.h>

#include "usage/sets.h"

#include <qcow2/claims.h>

#define Q2_NOTHING 0

/* What a cluster is for; the first ones are those of enum qcow2_claim_part. */
enum q2_usage_what {
	Q2_WHAT_CLAIM = 0, /* plus enum qcow2_claim_part */
	Q2_WHAT_COMPRESSED = 32,
	Q2_WHAT_CONFLICT = 33, /* uses that contradict each other, as the check sees it */
};

struct q2_state {
	uint32_t what; /* enum q2_usage_what */
	uint32_t set;
};

struct q2_states {
	struct q2_memory *memory;
	pthread_mutex_t lock;
	bool has_lock;
	struct q2_sets sets;
	struct q2_state *states;
	size_t count, capacity;
	struct q2_numbers numbers; /* by what and set */
	struct q2_numbers joins;   /* by two states, the lower number first */
};

/* False if memory is short; release it then, too. */
bool q2_states_init(struct q2_states *states, struct q2_memory *memory);
void q2_states_release(struct q2_states *states);

#define Q2_JOINS_REMEMBERED 1024

struct q2_joiner {
	struct q2_states *states;
	bool failed; /* memory was short: the results since then are wrong */
	uint64_t keys[Q2_JOINS_REMEMBERED];
	uint32_t values[Q2_JOINS_REMEMBERED];
};

/* The state of a cluster that is one thing, of a set of users. */
uint32_t q2_joiner_state(struct q2_joiner *joiner, uint32_t what, uint32_t set);

/*
 * The state of a cluster of which two states are known, each from references of its own. The order
 * of joins does not matter.
 */
uint32_t q2_joiner_find(struct q2_joiner *joiner, uint32_t a, uint32_t b);

static inline uint32_t q2_join(struct q2_joiner *joiner, uint32_t a, uint32_t b)
{
	uint64_t key;
	size_t at;

	if (a == Q2_NOTHING || b == Q2_NOTHING)
		return a | b;
	key = a < b ? q2_pair(a, b) : q2_pair(b, a);
	at = (size_t)q2_spread(key) % Q2_JOINS_REMEMBERED;
	return joiner->keys[at] == key ? joiner->values[at] : q2_joiner_find(joiner, a, b);
}

#endif
