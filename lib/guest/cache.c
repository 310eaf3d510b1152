/* SPDX-License-Identifier: MIT */
/* See cache.h. There are few slots, as clusters are large, so they are searched one by one. */
#include "guest/cache.h"

#include "base/alloc.h"

bool q2_cache_init(struct q2_cache *cache, size_t count)
{
	cache->slots = q2_alloc_array(count, sizeof(*cache->slots));
	if (!cache->slots)
		return false;
	cache->count = count;
	pthread_mutex_init(&cache->lock, NULL);
	return true;
}

void q2_cache_release(struct q2_cache *cache)
{
	if (!cache->slots)
		return;
	for (size_t i = 0; i < cache->count; i++)
		q2_free(cache->slots[i].bytes);
	q2_free(cache->slots);
	cache->slots = NULL;
	pthread_mutex_destroy(&cache->lock);
}

static struct q2_cache_slot *hold(struct q2_cache *cache, struct q2_cache_slot *slot)
{
	slot->held++;
	slot->used = ++cache->clock;
	return slot;
}

struct q2_cache_slot *q2_cache_find(struct q2_cache *cache, uint32_t layer, uint64_t entry)
{
	struct q2_cache_slot *found = NULL;

	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; i < cache->count && !found; i++) {
		struct q2_cache_slot *slot = &cache->slots[i];

		if (slot->filled && slot->layer == layer && slot->entry == entry)
			found = hold(cache, slot);
	}
	pthread_mutex_unlock(&cache->lock);
	return found;
}

/* The slot that nobody holds and that was used longest ago, or NULL. */
static struct q2_cache_slot *oldest(struct q2_cache *cache)
{
	struct q2_cache_slot *best = NULL;

	for (size_t i = 0; i < cache->count; i++) {
		struct q2_cache_slot *slot = &cache->slots[i];

		if (slot->held == 0 && (!best || slot->used < best->used))
			best = slot;
	}
	return best;
}

bool q2_cache_make(struct q2_cache *cache, size_t size_bytes, struct q2_cache_slot **out)
{
	struct q2_cache_slot *slot;

	pthread_mutex_lock(&cache->lock);
	slot = oldest(cache);
	if (slot) {
		slot->filled = false;
		hold(cache, slot);
	}
	pthread_mutex_unlock(&cache->lock);
	*out = slot;
	/* The layers of a chain may have clusters of different sizes. */
	if (!slot || slot->size_bytes == size_bytes)
		return true;
	q2_free(slot->bytes);
	slot->bytes = q2_alloc_buffer(size_bytes);
	slot->size_bytes = slot->bytes ? size_bytes : 0;
	if (slot->bytes)
		return true;
	q2_cache_let_go(cache, slot);
	return false;
}

void q2_cache_fill(struct q2_cache *cache, struct q2_cache_slot *slot, uint32_t layer,
		   uint64_t entry)
{
	pthread_mutex_lock(&cache->lock);
	slot->layer = layer;
	slot->entry = entry;
	slot->filled = true;
	pthread_mutex_unlock(&cache->lock);
}

void q2_cache_let_go(struct q2_cache *cache, struct q2_cache_slot *slot)
{
	pthread_mutex_lock(&cache->lock);
	slot->held--;
	pthread_mutex_unlock(&cache->lock);
}
