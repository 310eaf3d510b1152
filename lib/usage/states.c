/* SPDX-License-Identifier: MIT */
/* See states.h. */
#include "usage/states.h"

bool q2_states_init(struct q2_states *states, struct q2_memory *memory)
{
	*states = (struct q2_states){
		.memory = memory, .numbers.memory = memory, .joins.memory = memory};
	states->has_lock = pthread_mutex_init(&states->lock, NULL) == 0;
	if (!states->has_lock || !q2_sets_init(&states->sets, memory) ||
	    !q2_memory_grow(memory, (void **)&states->states, &states->capacity,
			    sizeof(*states->states)))
		return false;
	states->states[states->count++] = (struct q2_state){0};
	return true;
}

void q2_states_release(struct q2_states *states)
{
	if (!states->memory)
		return;
	if (states->has_lock)
		pthread_mutex_destroy(&states->lock);
	q2_sets_release(&states->sets);
	q2_memory_put(states->memory, states->states, states->capacity, sizeof(*states->states));
	q2_numbers_release(&states->numbers);
	q2_numbers_release(&states->joins);
}

/* The number of a state; the lock is held. */
static uint32_t intern(struct q2_states *states, uint32_t what, uint32_t set)
{
	const uint64_t key = q2_pair(what, set);
	uint32_t number = q2_numbers_find(&states->numbers, key);

	if (number != Q2_NO_NUMBER)
		return number;
	number = (uint32_t)states->count;
	if (states->count >= Q2_NO_NUMBER - 1 ||
	    (states->count == states->capacity &&
	     !q2_memory_grow(states->memory, (void **)&states->states, &states->capacity,
			     sizeof(*states->states))) ||
	    !q2_numbers_put(&states->numbers, key, number))
		return Q2_NO_NUMBER;
	states->states[states->count++] = (struct q2_state){.what = what, .set = set};
	return number;
}

uint32_t q2_joiner_state(struct q2_joiner *joiner, uint32_t what, uint32_t set)
{
	uint32_t number = Q2_NO_NUMBER;

	if (set != Q2_NO_NUMBER) {
		pthread_mutex_lock(&joiner->states->lock);
		number = intern(joiner->states, what, set);
		pthread_mutex_unlock(&joiner->states->lock);
	}
	joiner->failed |= number == Q2_NO_NUMBER;
	return number == Q2_NO_NUMBER ? Q2_NOTHING : number;
}

/*
 * Guest data is shared by snapshots, and compressed clusters share the host clusters that they
 * touch; everything else has one owner.
 */
static uint32_t join_what(uint32_t a, uint32_t b)
{
	if (a == b && (a == Q2_WHAT_CLAIM + QCOW2_CLAIM_DATA || a == Q2_WHAT_COMPRESSED))
		return a;
	return Q2_WHAT_CONFLICT;
}

/* Joins two states; the lock is held. */
static uint32_t join(struct q2_states *states, uint32_t a, uint32_t b)
{
	const uint64_t key = a < b ? q2_pair(a, b) : q2_pair(b, a);
	const struct q2_state x = states->states[a], y = states->states[b];
	uint32_t number = q2_numbers_find(&states->joins, key), set;

	if (number != Q2_NO_NUMBER)
		return number;
	set = q2_sets_union(&states->sets, x.set, y.set);
	if (set == Q2_NO_NUMBER)
		return Q2_NO_NUMBER;
	number = intern(states, join_what(x.what, y.what), set);
	if (number == Q2_NO_NUMBER || !q2_numbers_put(&states->joins, key, number))
		return Q2_NO_NUMBER;
	return number;
}

uint32_t q2_joiner_find(struct q2_joiner *joiner, uint32_t a, uint32_t b)
{
	const uint64_t key = a < b ? q2_pair(a, b) : q2_pair(b, a);
	const size_t at = (size_t)q2_spread(key) % Q2_JOINS_REMEMBERED;
	uint32_t number;

	pthread_mutex_lock(&joiner->states->lock);
	number = join(joiner->states, a, b);
	pthread_mutex_unlock(&joiner->states->lock);
	if (number == Q2_NO_NUMBER) {
		joiner->failed = true;
		return a;
	}
	joiner->keys[at] = key;
	joiner->values[at] = number;
	return number;
}
