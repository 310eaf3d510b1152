/* SPDX-License-Identifier: MIT */
/*
 * The state of each host cluster of the file. Chunks of 4,096 clusters that are all alike take no
 * memory of their own, and neither do leaves of 4,096 such chunks; other chunks have a byte for each
 * cluster, or two or four if the numbers of their states need them.
 *
 * Labels belong to one thread; those of several threads are merged.
 */
#ifndef Q2_USAGE_LABELS_H
#define Q2_USAGE_LABELS_H

#include "usage/states.h"

#define Q2_LABEL_CHUNK       4096
#define Q2_LABEL_LEAF_CHUNKS 4096
#define Q2_LABEL_LEAF        ((uint64_t)Q2_LABEL_CHUNK * Q2_LABEL_LEAF_CHUNKS)

struct q2_label_chunk {
	void *labels;     /* NULL: all are `uniform` */
	uint32_t uniform; /* only without labels */
	uint32_t width;   /* bytes of a label: 1, 2 or 4; 0 without labels */
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

/* Where a label of one byte is kept, or NULL if the cluster has no such label yet. */
static inline uint8_t *q2_labels_byte(const struct q2_labels *labels, uint64_t cluster)
{
	const struct q2_label_leaf *leaf = labels->slots[cluster / Q2_LABEL_LEAF].leaf;
	const struct q2_label_chunk *chunk;

	if (!leaf)
		return NULL;
	chunk = &leaf->chunks[cluster / Q2_LABEL_CHUNK % Q2_LABEL_LEAF_CHUNKS];
	return chunk->width == 1 ? (uint8_t *)chunk->labels + cluster % Q2_LABEL_CHUNK : NULL;
}

/*
 * Lets the processor fetch what marking that cluster will touch. Always inline: as a function of its
 * own, gcc finds that it does nothing and drops the calls.
 */
__attribute__((always_inline)) static inline void q2_labels_prefetch(const struct q2_labels *labels,
								     uint64_t cluster)
{
	const uint8_t *byte = q2_labels_byte(labels, cluster);

	if (byte)
		__builtin_prefetch(byte, 1);
}

/*
 * As q2_labels_mark() for one cluster, if that takes no more than to write a byte; else false. state
 * is not 0.
 */
static inline bool q2_labels_mark_fresh(const struct q2_labels *labels, uint64_t cluster,
					uint32_t state)
{
	uint8_t *byte = q2_labels_byte(labels, cluster);

	if (!byte || *byte != Q2_NOTHING || state > UINT8_MAX)
		return false;
	*byte = (uint8_t)state;
	return true;
}

/*
 * *label becomes the state of a cluster below the count. Returns how many clusters from there on have
 * that state, at least 1; there may be more of them.
 */
uint64_t q2_labels_run(const struct q2_labels *labels, uint64_t cluster, uint32_t *label);

#endif
