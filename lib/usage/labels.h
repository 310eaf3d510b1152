/* SPDX-License-Identifier: MIT */
/*
 * The state of each host cluster of the file. Chunks of 4,096 clusters that are all alike take no
 * memory of their own, and neither do leaves of 4,096 such chunks. A chunk where some clusters have
 * one state and the others have none, as guest data in disorder leaves it, has a bit for each
 * cluster; other chunks have a byte, or two or four if the numbers of their states need them.
 *
 * Labels belong to one thread; those of several threads are merged.
 */
#ifndef Q2_USAGE_LABELS_H
#define Q2_USAGE_LABELS_H

#include "usage/states.h"

#define Q2_LABEL_CHUNK       4096
#define Q2_LABEL_LEAF_CHUNKS 4096
#define Q2_LABEL_LEAF        ((uint64_t)Q2_LABEL_CHUNK * Q2_LABEL_LEAF_CHUNKS)

#define Q2_LABEL_BITS_WORDS (Q2_LABEL_CHUNK / 64)

struct q2_label_chunk {
	/* NULL: all are `uniform`. With width 0: a bit for each that is `uniform`; else labels. */
	void *labels;
	uint32_t uniform;
	uint32_t width; /* bytes of a label: 1, 2 or 4 */
};

struct q2_label_leaf {
	struct q2_label_chunk chunks[Q2_LABEL_LEAF_CHUNKS];
};

struct q2_label_slot {
	struct q2_label_leaf *leaf; /* NULL: all are `uniform` */
	uint32_t uniform;           /* only without a leaf */
};

struct q2_labels {
	struct q2_label_slot *slots;
	uint64_t slot_count;
	uint64_t cluster_count;
	struct q2_memory *memory;
	struct q2_joiner *joiner;
	uint64_t steps; /* a measure of the time that marks have taken */
	bool failed;    /* memory was short: the contents are not complete */
};

/* False if memory is short. */
bool q2_labels_init(struct q2_labels *labels, uint64_t cluster_count, struct q2_joiner *joiner);
void q2_labels_release(struct q2_labels *labels);

/* Joins a state to those of count clusters from first on, which are all below the count. */
void q2_labels_mark(struct q2_labels *labels, uint64_t first, uint64_t count, uint32_t state);

/* As q2_labels_mark(), but leaves alone clusters that have a state. */
void q2_labels_fill(struct q2_labels *labels, uint64_t first, uint64_t count, uint32_t state);

/* Joins to the states what other knows; other is empty afterwards. */
void q2_labels_merge(struct q2_labels *labels, struct q2_labels *other);

/* The word of the bits of a chunk that has bits of that state, or NULL. */
__attribute__((always_inline)) static inline uint64_t *
q2_labels_word(const struct q2_labels *labels, uint64_t cluster, uint32_t state)
{
	const struct q2_label_leaf *leaf = labels->slots[cluster / Q2_LABEL_LEAF].leaf;
	const struct q2_label_chunk *chunk;

	if (!leaf)
		return NULL;
	chunk = &leaf->chunks[cluster / Q2_LABEL_CHUNK % Q2_LABEL_LEAF_CHUNKS];
	if (!chunk->labels || chunk->width != 0 || chunk->uniform != state)
		return NULL;
	return (uint64_t *)chunk->labels + cluster / 64 % Q2_LABEL_BITS_WORDS;
}

/*
 * Lets the processor fetch what marking that cluster will touch. Always inline: as a function of its
 * own, gcc finds that it does nothing and drops the calls.
 */
__attribute__((always_inline)) static inline void
q2_labels_prefetch(const struct q2_labels *labels, uint64_t cluster, uint32_t state)
{
	const uint64_t *word = q2_labels_word(labels, cluster, state);

	if (word)
		__builtin_prefetch(word, 1);
}

/* As q2_labels_mark() for one cluster, if that takes no more than to set a bit; else false. */
static inline bool q2_labels_mark_fresh(const struct q2_labels *labels, uint64_t cluster,
					uint32_t state)
{
	const uint64_t bit = UINT64_C(1) << (cluster % 64);
	uint64_t *word = q2_labels_word(labels, cluster, state);

	if (!word || (*word & bit))
		return false;
	*word |= bit;
	return true;
}

/*
 * *label becomes the state of a cluster below the count. Returns how many clusters from there on have
 * that state, at least 1; there may be more of them.
 */
uint64_t q2_labels_run(const struct q2_labels *labels, uint64_t cluster, uint32_t *label);

#endif
