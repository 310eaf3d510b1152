/* SPDX-License-Identifier: MIT */
/*
 * Decompressed clusters of a disk, the ones used last. Threads share it: a cluster that somebody
 * holds stays as it is until it is let go.
 */
#ifndef Q2_GUEST_CACHE_H
#define Q2_GUEST_CACHE_H

#include <pthread.h>

#include <qcow2/base.h>

struct q2_cache_slot {
	uint8_t *bytes; /* NULL: was never used */
	size_t size_bytes;
	/* What it holds, if it is filled: the layer, and the cluster's L2 entry. */
	uint32_t layer;
	bool filled;
	unsigned held; /* by how many */
	uint64_t entry;
	uint64_t used; /* when it was asked for last; the smallest goes first */
};

struct q2_cache {
	pthread_mutex_t lock;
	struct q2_cache_slot *slots;
	size_t count; /* 0: nothing is kept */
	uint64_t clock;
};

/* Prepares `count` slots, whose memory is allocated as they are used. False if memory is short. */
bool q2_cache_init(struct q2_cache *cache, size_t count);
void q2_cache_release(struct q2_cache *cache);

/* Holds the slot with a cluster; NULL if it is not there. */
struct q2_cache_slot *q2_cache_find(struct q2_cache *cache, uint32_t layer, uint64_t entry);

/*
 * Holds a slot to fill, of size_bytes; *out is NULL if all are held, and the cluster cannot be kept.
 * False if memory is short.
 */
bool q2_cache_make(struct q2_cache *cache, size_t size_bytes, struct q2_cache_slot **out);

/* Says what a slot that was made holds now. It stays held. */
void q2_cache_fill(struct q2_cache *cache, struct q2_cache_slot *slot, uint32_t layer,
		   uint64_t entry);

void q2_cache_let_go(struct q2_cache *cache, struct q2_cache_slot *slot);

#endif
