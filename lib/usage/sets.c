/* SPDX-License-Identifier: MIT */
/* See sets.h. A new set is built behind the last one, and dropped if it is there already. */
#include "usage/sets.h"

#include <string.h>

bool q2_sets_init(struct q2_sets *sets, struct q2_memory *memory)
{
	*sets = (struct q2_sets){
		.memory = memory, .by_content.memory = memory, .unions.memory = memory};
	q2_hash_key_make(&sets->key);
	if (!q2_memory_grow(memory, (void **)&sets->sets, &sets->capacity, sizeof(*sets->sets)))
		return false;
	sets->sets[sets->count++] = (struct q2_set){0};
	return true;
}

void q2_sets_release(struct q2_sets *sets)
{
	if (!sets->memory)
		return;
	q2_memory_put(sets->memory, sets->spans, sets->span_capacity, sizeof(*sets->spans));
	q2_memory_put(sets->memory, sets->sets, sets->capacity, sizeof(*sets->sets));
	q2_numbers_release(&sets->by_content);
	q2_numbers_release(&sets->unions);
}

/* Makes room for so many spans behind the last set. */
static bool need_spans(struct q2_sets *sets, size_t count)
{
	while (sets->span_capacity - sets->span_count < count)
		if (!q2_memory_grow(sets->memory, (void **)&sets->spans, &sets->span_capacity,
				    sizeof(*sets->spans)))
			return false;
	return true;
}

static uint32_t add_set(struct q2_sets *sets, uint64_t key, uint32_t count)
{
	const uint32_t number = (uint32_t)sets->count;

	if (sets->count >= Q2_NO_NUMBER - 1 ||
	    (sets->count == sets->capacity &&
	     !q2_memory_grow(sets->memory, (void **)&sets->sets, &sets->capacity,
			     sizeof(*sets->sets))) ||
	    !q2_numbers_put(&sets->by_content, key, number))
		return Q2_NO_NUMBER;
	sets->sets[sets->count++] = (struct q2_set){sets->span_count, count};
	sets->span_count += count;
	return number;
}

/* The number of the set of the count spans that were put behind the last set. */
static uint32_t intern(struct q2_sets *sets, uint32_t count)
{
	const struct q2_user_span *spans = sets->spans + sets->span_count;
	const size_t size = count * sizeof(*spans);
	uint64_t key = q2_hash(&sets->key, (struct qcow2_bytes){(const uint8_t *)spans, size});

	for (;; key++) {
		const uint32_t known = q2_numbers_find(&sets->by_content, key);

		if (known == Q2_NO_NUMBER)
			return add_set(sets, key, count);
		if (sets->sets[known].count == count &&
		    memcmp(sets->spans + sets->sets[known].at, spans, size) == 0)
			return known;
	}
}

uint32_t q2_sets_single(struct q2_sets *sets, uint32_t user)
{
	if (!need_spans(sets, 1))
		return Q2_NO_NUMBER;
	sets->spans[sets->span_count] = (struct q2_user_span){user, user};
	return intern(sets, 1);
}

/* Puts a span behind those of *count that were put before, or makes the last one longer. */
static void put_span(struct q2_user_span *spans, uint32_t *count, struct q2_user_span span)
{
	struct q2_user_span *last = *count ? &spans[*count - 1] : NULL;

	if (last && span.first <= last->last + 1) {
		if (span.last > last->last)
			last->last = span.last;
		return;
	}
	spans[(*count)++] = span;
}

static uint32_t unite(struct q2_sets *sets, const struct q2_set *a, const struct q2_set *b)
{
	const struct q2_user_span *left, *left_end, *right, *right_end;
	struct q2_user_span *out;
	uint32_t count = 0;

	if (!need_spans(sets, (size_t)a->count + b->count))
		return Q2_NO_NUMBER;
	left = sets->spans + a->at;
	left_end = left + a->count;
	right = sets->spans + b->at;
	right_end = right + b->count;
	out = sets->spans + sets->span_count;
	while (left < left_end || right < right_end) {
		const bool take_left =
			right == right_end || (left < left_end && left->first < right->first);

		put_span(out, &count, take_left ? *left++ : *right++);
	}
	return intern(sets, count);
}

uint32_t q2_sets_union(struct q2_sets *sets, uint32_t a, uint32_t b)
{
	const uint64_t key = a < b ? q2_pair(a, b) : q2_pair(b, a);
	uint32_t number;

	if (a == Q2_NO_NUMBER || b == Q2_NO_NUMBER)
		return Q2_NO_NUMBER;
	if (a == b || b == Q2_EMPTY_SET)
		return a;
	if (a == Q2_EMPTY_SET)
		return b;
	number = q2_numbers_find(&sets->unions, key);
	if (number != Q2_NO_NUMBER)
		return number;
	number = unite(sets, &(struct q2_set){sets->sets[a].at, sets->sets[a].count},
		       &(struct q2_set){sets->sets[b].at, sets->sets[b].count});
	if (number == Q2_NO_NUMBER || !q2_numbers_put(&sets->unions, key, number))
		return Q2_NO_NUMBER;
	return number;
}

/* No span holds users of both sides: those of one kind lie far from those of the next. */
uint32_t q2_sets_below(struct q2_sets *sets, uint32_t set, uint32_t user)
{
	const struct q2_user_span *spans = sets->spans + sets->sets[set].at;
	uint32_t count = sets->sets[set].count;

	while (count > 0 && spans[count - 1].first >= user)
		count--;
	if (count == sets->sets[set].count)
		return set;
	if (count == 0)
		return Q2_EMPTY_SET;
	if (!need_spans(sets, count))
		return Q2_NO_NUMBER;
	memcpy(sets->spans + sets->span_count, sets->spans + sets->sets[set].at,
	       count * sizeof(*spans));
	return intern(sets, count);
}
