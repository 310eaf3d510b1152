/* SPDX-License-Identifier: MIT */
/* See known.h. */
#include "guards/known.h"

#include <string.h>

#define KNOWN_MOST ((size_t)1 << 21)
#define NONE       UINT64_MAX

/* What a problem says, apart from its kind and place. */
struct saying {
	uint64_t found, expected;
	enum qcow2_expectation expectation;
	bool has_found;
	unsigned owner_count;
	uint64_t owners_total;
	uint64_t owners[QCOW2_PROBLEM_OWNERS_MAX]; /* hashes of their paths */
};

struct known {
	struct saying saying;
	uint64_t next;   /* the next one at the same place */
	uint64_t cursor; /* of the first at a place: the first that has not answered yet */
	uint64_t last;   /* of the first at a place: the last one */
	bool taken;
};

void q2_known_init(struct q2_known *known)
{
	*known = (struct q2_known){.short_of_memory = false};
	q2_vector_init(&known->list, sizeof(struct known), KNOWN_MOST);
	q2_name_set_init(&known->first, KNOWN_MOST);
	q2_hash_key_make(&known->key);
}

void q2_known_release(struct q2_known *known)
{
	q2_vector_release(&known->list);
	q2_name_set_release(&known->first);
}

static struct known *at(const struct q2_known *known, uint64_t index)
{
	return index == NONE ? NULL : q2_vector_at(&known->list, (size_t)index);
}

static enum qcow2_problem_id id_of(const struct qcow2_problem *problem)
{
	return (enum qcow2_problem_id)problem->kind->number;
}

/* ---- places that stay the same ---- */

/*
 * Bitmaps and extensions move up when one before them goes. So their hash stands for their number:
 * returns the rest of the path behind the number, with *hash set.
 */
static const char *past_number(const char *where, const char *list, const struct q2_items *items,
			       uint64_t *hash)
{
	size_t size = strlen(list);
	const struct q2_item *item;
	const char *at = where + size;
	uint64_t index = 0;

	if (strncmp(where, list, size) != 0 || *at < '0' || *at > '9')
		return where;
	/* The check wrote the number: it is decimal and does not overflow. */
	for (; *at >= '0' && *at <= '9'; at++)
		index = index * 10 + (uint64_t)(*at - '0');
	item = q2_items_at(items, index);
	if (!item)
		return where;
	*hash = item->old_hash;
	return at;
}

static uint64_t hash_path(const struct q2_known *known, uint64_t salt, const char *where,
			  const struct q2_inventory *inventory)
{
	struct q2_hash_key key = {known->key.low ^ salt, known->key.high};
	uint64_t item = 0;
	const char *rest = past_number(where, "bitmaps/", &inventory->bitmaps, &item);

	if (rest == where)
		rest = past_number(where, "extensions/", &inventory->extensions, &item);
	key.high ^= item;
	return q2_hash(&key, (struct qcow2_bytes){(const uint8_t *)rest, strlen(rest)});
}

static struct saying say(const struct q2_known *known, const struct qcow2_problem *problem,
			 const struct q2_inventory *inventory)
{
	struct saying saying = {
		.found = problem->has_found ? problem->found : 0,
		.expected = problem->expected,
		.expectation = problem->expectation,
		.has_found = problem->has_found,
		.owner_count = problem->owner_count,
		.owners_total = problem->owners_total,
	};

	for (unsigned i = 0; i < problem->owner_count; i++)
		saying.owners[i] = hash_path(known, 1, problem->owners[i]->where, inventory);
	return saying;
}

static uint64_t place_of(const struct q2_known *known, const struct qcow2_problem *problem,
			 const struct q2_inventory *inventory)
{
	return hash_path(known, 2 + (uint64_t)id_of(problem), problem->where, inventory);
}

/* ---- what is worse ---- */

static bool has_owner(const struct saying *saying, uint64_t owner)
{
	for (unsigned i = 0; i < saying->owner_count; i++)
		if (saying->owners[i] == owner)
			return true;
	return false;
}

/* Whether all owners of `some` are owners of `all`, as far as they are named. */
static bool are_owners_of(const struct saying *some, const struct saying *all)
{
	if (some->owners_total > all->owners_total)
		return false;
	/* If not all owners were named, one that is named now may have been there before. */
	if (all->owners_total > all->owner_count)
		return true;
	for (unsigned i = 0; i < some->owner_count; i++)
		if (!has_owner(all, some->owners[i]))
			return false;
	return true;
}

/* Returns the distance between what was found and what would be right. */
static uint64_t gap_of(const struct saying *saying)
{
	return saying->found > saying->expected ? saying->found - saying->expected
						: saying->expected - saying->found;
}

/* Compares two wrong refcounts; `expected` is the number of references. */
static bool is_count_worse(enum qcow2_problem_id id, const struct saying *now,
			   const struct saying *then)
{
	if (gap_of(now) > gap_of(then))
		return true;
	/*
	 * A leak is worse if an owner is gone, since a pointer is lost. A count that is too low is
	 * worse if there is one more owner.
	 */
	if (id == QCOW2_PROBLEM_REFCOUNT_HIGH)
		return !are_owners_of(then, now);
	return now->found < then->found || !are_owners_of(now, then);
}

/*
 * Returns the bits of `found` that are at fault. Some problems tell a whole field although one bit
 * of it is at fault; others tell what the field was compared with.
 */
static uint64_t bits_of(enum qcow2_problem_id id)
{
	switch (id) {
	case QCOW2_PROBLEM_FEATURE_INCOMPATIBLE_UNKNOWN:
		return ~QCOW2_INCOMPATIBLE_KNOWN;
	case QCOW2_PROBLEM_FEATURE_COMPATIBLE_UNKNOWN:
		return ~QCOW2_COMPATIBLE_KNOWN;
	case QCOW2_PROBLEM_FEATURE_AUTOCLEAR_UNKNOWN:
		return ~QCOW2_AUTOCLEAR_KNOWN;
	case QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED:
		return ~(uint64_t)QCOW2_BITMAP_FLAGS_KNOWN;
	case QCOW2_PROBLEM_FEATURE_DIRTY:
	case QCOW2_PROBLEM_FEATURE_CORRUPT:
	case QCOW2_PROBLEM_FEATURE_RAW_WITHOUT_DATA_FILE:
	case QCOW2_PROBLEM_FEATURE_RAW_WITH_BACKING:
	case QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS:
	case QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION:
	case QCOW2_PROBLEM_DATA_FILE_NAME_MISSING:
	case QCOW2_PROBLEM_HEADER_COMPRESSION_BIT:
	case QCOW2_PROBLEM_HEADER_SIZE_SECTORS:
	case QCOW2_PROBLEM_BITMAP_IN_USE:
	case QCOW2_PROBLEM_BITMAP_NAME_DUPLICATE:
	case QCOW2_PROBLEM_BITMAP_TABLE_SHARED:
		return 0;
	default:
		return UINT64_MAX;
	}
}

/* Whether a whole table entry is told, and expected, of which the offset alone is too large. */
static bool is_entry_beyond_end(enum qcow2_problem_id id)
{
	switch (id) {
	case QCOW2_PROBLEM_L2_TABLE_BEYOND_END:
	case QCOW2_PROBLEM_DATA_BEYOND_END:
	case QCOW2_PROBLEM_ZERO_BEYOND_END:
	case QCOW2_PROBLEM_COMPRESSED_BEYOND_END:
	case QCOW2_PROBLEM_REFBLOCK_BEYOND_END:
	case QCOW2_PROBLEM_BITMAP_DATA_BEYOND_END:
		return true;
	default:
		return false;
	}
}

static bool is_value_worse(enum qcow2_problem_id id, const struct saying *now,
			   const struct saying *then)
{
	bool same_right = now->expected == then->expected;
	uint64_t bits = bits_of(id), gained = now->found & ~then->found & bits;

	if (now->has_found != then->has_found || now->expectation != then->expectation)
		return true;
	if (((now->found ^ then->found) & bits) == 0 && same_right)
		return false;
	switch (now->expectation) {
	case QCOW2_EXPECT_AT_MOST:
		if (is_entry_beyond_end(id))
			return gap_of(now) > gap_of(then);
		return now->found > then->found || now->expected < then->expected;
	case QCOW2_EXPECT_AT_LEAST:
		return now->found < then->found || now->expected > then->expected;
	case QCOW2_EXPECT_VALUE:
		if (id == QCOW2_PROBLEM_REFCOUNT_BEYOND_END)
			return now->found > then->found;
		/* Reserved bits should be zero: a plan may clear some of them. */
		return !same_right || now->expected != 0 || gained != 0;
	case QCOW2_EXPECT_NOTHING:
		return gained != 0;
	default:
		return true;
	}
}

static bool is_worse(enum qcow2_problem_id id, const struct saying *now, const struct saying *then)
{
	switch (id) {
	case QCOW2_PROBLEM_REFCOUNT_LOW:
	case QCOW2_PROBLEM_REFCOUNT_HIGH:
	case QCOW2_PROBLEM_REFCOUNT_OVERFLOW:
		return is_count_worse(id, now, then);
	/* These problems tell the refcount; problems of refcounts are compared by themselves. */
	case QCOW2_PROBLEM_COPIED_SET:
	case QCOW2_PROBLEM_COPIED_CLEAR:
	case QCOW2_PROBLEM_CLUSTER_OWNERS:
		return !are_owners_of(now, then);
	default:
		return is_value_worse(id, now, then);
	}
}

/* ---- adding and taking ---- */

void q2_known_add(struct q2_known *known, const struct qcow2_problem *problem,
		  const struct q2_inventory *inventory)
{
	uint64_t index = known->list.count, head;
	struct known item = {.saying = say(known, problem, inventory), .next = NONE};
	enum qcow2_error_code code;

	item.cursor = item.last = index;
	code = q2_name_set_insert(&known->first, place_of(known, problem, inventory), index, &head);
	if (code == QCOW2_ERROR_NONE)
		code = q2_vector_push(&known->list, &item);
	if (code == QCOW2_ERROR_MEMORY)
		known->short_of_memory = true;
	if (code != QCOW2_ERROR_NONE || head == Q2_NAME_SET_NEW)
		return;
	at(known, at(known, head)->last)->next = index;
	at(known, head)->last = index;
}

bool q2_known_take(struct q2_known *known, const struct qcow2_problem *problem,
		   const struct q2_inventory *inventory)
{
	const struct saying now = say(known, problem, inventory);
	struct known *first =
		at(known, q2_name_set_find(&known->first, place_of(known, problem, inventory)));
	struct known *item;

	if (!first)
		return false;
	while ((item = at(known, first->cursor)) && item->taken)
		first->cursor = item->next;
	for (uint64_t i = first->cursor; (item = at(known, i)); i = item->next) {
		if (item->taken || is_worse(id_of(problem), &now, &item->saying))
			continue;
		item->taken = true;
		return true;
	}
	return false;
}
