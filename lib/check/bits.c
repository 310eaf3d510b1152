/* SPDX-License-Identifier: MIT */
/*
 * See bits.h: a tree of up to three levels of nodes, and leaves of 4 KiB. It is as high as the highest
 * member demands, so that a set of a small image is a leaf.
 */
#include "check/bits.h"

#include <stddef.h>

#define CHILDREN   ((size_t)1 << Q2_BITS_NODE_BITS)
#define LEAF_COUNT (UINT64_C(1) << Q2_BITS_LEAF_BITS)
#define LEVELS     3

struct q2_bits_node {
	void *children[CHILDREN]; /* nodes, or arrays of words on the lowest level */
};

/* How many clusters a tree of that height has room for. */
static uint64_t room_of(unsigned height)
{
	return LEAF_COUNT << (height * Q2_BITS_NODE_BITS);
}

/* The index of the child that holds a cluster, in a node of that level; 0 is the lowest. */
static size_t child_of(uint64_t cluster, unsigned level)
{
	return cluster >> (Q2_BITS_LEAF_BITS + level * Q2_BITS_NODE_BITS) & (CHILDREN - 1);
}

/* The words of the leaf that holds a cluster, or NULL. */
static uint64_t *find_leaf(const struct q2_bits *bits, uint64_t cluster)
{
	void *at = cluster < room_of(bits->height) ? bits->root : NULL;

	for (unsigned level = bits->height; at && level-- > 0;)
		at = ((struct q2_bits_node *)at)->children[child_of(cluster, level)];
	return at;
}

static void *need(struct q2_bits *bits, void **slot, bool leaf)
{
	if (!*slot)
		*slot = leaf ? q2_memory_get(bits->memory, Q2_BITS_WORDS, sizeof(uint64_t))
			     : q2_memory_get(bits->memory, 1, sizeof(struct q2_bits_node));
	return *slot;
}

/* Makes the tree high enough for a cluster. Returns false if memory is short. */
static bool grow(struct q2_bits *bits, uint64_t cluster)
{
	while (bits->height < LEVELS && cluster >= room_of(bits->height)) {
		struct q2_bits_node *above = NULL;

		if (bits->root) {
			above = q2_memory_get(bits->memory, 1, sizeof(*above));
			if (!above)
				return false;
			above->children[0] = bits->root;
		}
		bits->root = above;
		bits->height++;
	}
	return true;
}

static uint64_t *need_leaf(struct q2_bits *bits, uint64_t cluster)
{
	void *at;

	if (!grow(bits, cluster))
		return NULL;
	at = need(bits, &bits->root, bits->height == 0);
	for (unsigned level = bits->height; at && level-- > 0;)
		at = need(bits, &((struct q2_bits_node *)at)->children[child_of(cluster, level)],
			  level == 0);
	return at;
}

void q2_bits_add_word(struct q2_bits *bits, uint64_t cluster, uint64_t word)
{
	uint64_t *at;

	if (!bits->leaf || bits->leaf_number != cluster / LEAF_COUNT) {
		bits->leaf = bits->failed ? NULL : need_leaf(bits, cluster);
		bits->leaf_number = cluster / LEAF_COUNT;
	}
	if (!bits->leaf) {
		bits->failed = true;
		return;
	}
	at = &bits->leaf[cluster % LEAF_COUNT / 64];
	bits->count += (uint64_t)__builtin_popcountll(word & ~*at);
	*at |= word;
}

void q2_bits_add(struct q2_bits *bits, uint64_t cluster)
{
	q2_bits_add_word(bits, cluster, UINT64_C(1) << (cluster % 64));
}

uint64_t q2_bits_word(const struct q2_bits *bits, uint64_t cluster)
{
	const uint64_t *words = find_leaf(bits, cluster);

	return words ? words[cluster % LEAF_COUNT / 64] : 0;
}

bool q2_bits_has(const struct q2_bits *bits, uint64_t cluster)
{
	return q2_bits_word(bits, cluster) >> (cluster % 64) & 1;
}

/*
 * How many clusters from one on are known not to be members, as a whole part of the tree is not
 * there; 0 if that part is there.
 */
static uint64_t missing_from(const struct q2_bits *bits, uint64_t cluster)
{
	const void *at = bits->root;
	unsigned level = bits->height;
	uint64_t size;

	if (!at || cluster >= room_of(level))
		return UINT64_MAX;
	while (at && level-- > 0)
		at = ((const struct q2_bits_node *)at)->children[child_of(cluster, level)];
	if (at)
		return 0;
	size = LEAF_COUNT << (level * Q2_BITS_NODE_BITS);
	return size - cluster % size;
}

/* The first cluster from `at` on, before end, that is a member or is none; end if there is none. */
static uint64_t next(const struct q2_bits *bits, uint64_t at, uint64_t end, bool member)
{
	while (at < end) {
		uint64_t missing = missing_from(bits, at), word;

		if (missing > 0) {
			if (!member)
				return at;
			if (missing >= end - at)
				return end;
			at += missing;
			continue;
		}
		word = find_leaf(bits, at)[at % LEAF_COUNT / 64];
		word = (member ? word : ~word) >> (at % 64);
		if (word != 0) {
			at += (uint64_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at += 64 - at % 64;
	}
	return end;
}

bool q2_bits_run(const struct q2_bits *bits, uint64_t end, uint64_t *first, uint64_t *length)
{
	uint64_t start = next(bits, *first, end, true);

	if (start >= end)
		return false;
	*first = start;
	*length = next(bits, start, end, false) - start;
	return true;
}

void q2_bits_join(struct q2_bits *bits, const struct q2_bits *other)
{
	const uint64_t end = UINT64_C(1) << 48;
	uint64_t first = 0;

	bits->failed |= other->failed;
	while ((first = next(other, first, end, true)) < end) {
		first -= first % 64;
		q2_bits_add_word(bits, first, q2_bits_word(other, first));
		first += 64;
	}
}

static void release(struct q2_bits *bits, void *at, unsigned level)
{
	struct q2_bits_node *node = at;

	if (!at)
		return;
	if (level == 0) {
		q2_memory_put(bits->memory, at, Q2_BITS_WORDS, sizeof(uint64_t));
		return;
	}
	for (size_t i = 0; i < CHILDREN; i++)
		release(bits, node->children[i], level - 1);
	q2_memory_put(bits->memory, node, 1, sizeof(*node));
}

void q2_bits_release(struct q2_bits *bits)
{
	release(bits, bits->root, bits->height);
	bits->root = NULL;
	bits->height = 0;
	bits->leaf = NULL;
	bits->count = 0;
}
