/* SPDX-License-Identifier: MIT */
/*
 * A set of host clusters, of which there may be up to 2^48. Regions without a member take no
 * memory. A set belongs to one thread at a time.
 */
#ifndef Q2_CHECK_BITS_H
#define Q2_CHECK_BITS_H

#include "base/memory.h"

#define Q2_BITS_NODE_BITS 11 /* of the index of a node's child */
#define Q2_BITS_LEAF_BITS 15 /* clusters of a leaf */
#define Q2_BITS_WORDS     ((size_t)1 << (Q2_BITS_LEAF_BITS - 6))

struct q2_bits {
	struct q2_memory *memory;
	void *root;           /* a leaf, or a node, */
	unsigned height;      /* with so many levels of nodes */
	uint64_t *leaf;       /* to which a member was added last, */
	uint64_t leaf_number; /* and which one that is */
	uint64_t count;       /* members */
	bool failed;          /* memory was short: members are missing */
};

/* Adds a cluster. */
void q2_bits_add(struct q2_bits *bits, uint64_t cluster);

/* Adds those of 64 clusters, from a multiple of 64 on, whose bits are set in word. */
void q2_bits_add_word(struct q2_bits *bits, uint64_t cluster, uint64_t word);

bool q2_bits_has(const struct q2_bits *bits, uint64_t cluster);

/* Which of 64 clusters, from a multiple of 64 on, are members. */
uint64_t q2_bits_word(const struct q2_bits *bits, uint64_t cluster);

/*
 * Finds the first run of members in [*first, end), and sets *first to its start and *length to its
 * length. False if there is none.
 */
bool q2_bits_run(const struct q2_bits *bits, uint64_t end, uint64_t *first, uint64_t *length);

/* Adds the members of other. */
void q2_bits_join(struct q2_bits *bits, const struct q2_bits *other);

void q2_bits_release(struct q2_bits *bits);

#endif
