/* SPDX-License-Identifier: MIT */
/* See clusters.h. */
#include "check/clusters.h"

#include <assert.h>
#include <string.h>

#define CLUSTERS_MAX (UINT64_C(1) << 48)
#define FLAGS        7U

bool q2_clusters_init(struct q2_clusters *clusters, uint64_t cluster_count,
		      struct q2_memory *memory)
{
	*clusters = (struct q2_clusters){.cluster_count = cluster_count, .memory = memory};
	if (cluster_count > CLUSTERS_MAX)
		return false;
	clusters->leaf_count = cluster_count / Q2_LEAF_CLUSTERS + 1;
	clusters->leaves = q2_memory_get(memory, clusters->leaf_count, sizeof(*clusters->leaves));
	return clusters->leaves != NULL;
}

void q2_chunk_free(struct q2_memory *memory, struct q2_cluster_chunk *chunk)
{
	if (!chunk)
		return;
	q2_memory_put(memory, chunk->few, Q2_CHUNK_CLUSTERS, sizeof(*chunk->few));
	q2_memory_put(memory, chunk->many, Q2_CHUNK_CLUSTERS, sizeof(*chunk->many));
	q2_memory_put(memory, chunk, 1, sizeof(*chunk));
}

static void release_leaf(struct q2_memory *memory, struct q2_cluster_leaf *leaf)
{
	if (!leaf)
		return;
	for (size_t i = 0; i < Q2_LEAF_CHUNKS; i++)
		q2_chunk_free(memory, leaf->chunks[i]);
	for (size_t i = 0; leaf->tallies && i < Q2_LEAF_CHUNKS; i++)
		q2_memory_put(memory, leaf->tallies[i], Q2_CHUNK_CLUSTERS, sizeof(**leaf->tallies));
	q2_memory_put(memory, leaf->tallies, Q2_LEAF_CHUNKS, sizeof(*leaf->tallies));
	for (size_t use = 0; use < Q2_FRESH_USES; use++)
		for (size_t i = 0; i < Q2_LEAF_FRESH; i++)
			q2_memory_put(memory, leaf->fresh[use][i], Q2_FRESH_WORDS,
				      sizeof(uint64_t));
	q2_memory_put(memory, leaf, 1, sizeof(*leaf));
}

void q2_clusters_release(struct q2_clusters *clusters)
{
	for (uint64_t i = 0; clusters->leaves && i < clusters->leaf_count; i++)
		release_leaf(clusters->memory, clusters->leaves[i]);
	q2_memory_put(clusters->memory, clusters->leaves, clusters->leaf_count,
		      sizeof(*clusters->leaves));
	clusters->leaves = NULL;
}

struct q2_cluster_leaf *q2_clusters_need_leaf(struct q2_clusters *clusters, uint64_t index)
{
	struct q2_cluster_leaf **leaf = &clusters->leaves[index];

	if (!*leaf)
		*leaf = q2_memory_get(clusters->memory, 1, sizeof(**leaf));
	if (!*leaf)
		clusters->failed = true;
	return *leaf;
}

/* Where the pointer to a chunk is kept, or NULL if memory is short. */
static struct q2_cluster_chunk **chunk_slot(struct q2_clusters *clusters, uint64_t chunk)
{
	struct q2_cluster_leaf *leaf = q2_clusters_need_leaf(clusters, chunk / Q2_LEAF_CHUNKS);

	return leaf ? &leaf->chunks[chunk % Q2_LEAF_CHUNKS] : NULL;
}

static struct q2_cluster_chunk *need_chunk(struct q2_clusters *clusters, uint64_t chunk)
{
	struct q2_cluster_chunk **slot = chunk_slot(clusters, chunk);

	if (slot && !*slot) {
		*slot = q2_memory_get(clusters->memory, 1, sizeof(**slot));
		if (!*slot)
			clusters->failed = true;
	}
	return slot ? *slot : NULL;
}

/* False if memory is short. */
static bool need_few(struct q2_clusters *clusters, struct q2_cluster_chunk *chunk)
{
	if (!chunk->few)
		chunk->few =
			q2_memory_get(clusters->memory, Q2_CHUNK_CLUSTERS, sizeof(*chunk->few));
	if (!chunk->few)
		clusters->failed = true;
	return chunk->few != NULL;
}

struct q2_cluster_chunk *q2_clusters_need_few(struct q2_clusters *clusters, uint64_t cluster)
{
	struct q2_cluster_chunk *chunk = need_chunk(clusters, cluster / Q2_CHUNK_CLUSTERS);

	return chunk && (chunk->many || need_few(clusters, chunk)) ? chunk : NULL;
}

/* What active entries of that use say of the copied flag. */
static unsigned flags_of(enum qcow2_claim_use use)
{
	if (use == QCOW2_USE_DATA_COPIED || use == QCOW2_USE_L2_COPIED)
		return Q2_SEEN_COPIED;
	if (use == QCOW2_USE_DATA_SHARED || use == QCOW2_USE_L2_SHARED)
		return Q2_SEEN_SHARED;
	return 0;
}

/*
 * Whether two references to one cluster, each counted by itself, contradict each other. Guest data
 * is shared by snapshots, and compressed clusters share the host clusters that they touch;
 * everything else has one owner.
 */
static bool conflicts(enum qcow2_claim_use a, enum qcow2_claim_use b)
{
	bool data = a <= QCOW2_USE_DATA_SHARED && b <= QCOW2_USE_DATA_SHARED;

	return !data && !(a == QCOW2_USE_COMPRESSED && b == QCOW2_USE_COMPRESSED);
}

static enum qcow2_claim_use use_at(const struct q2_cluster_chunk *chunk, unsigned at)
{
	const uint64_t *uses = chunk->uses[at / 64];
	unsigned bit = at % 64;

	return (enum qcow2_claim_use)((uses[0] >> bit & 1) | (uses[1] >> bit & 1) << 1 |
				      (uses[2] >> bit & 1) << 2);
}

static uint64_t counter_at(const struct q2_cluster_chunk *chunk, unsigned at)
{
	if (chunk->many)
		return chunk->many[at];
	return chunk->few ? chunk->few[at] : 0;
}

/* Gives a chunk counters of 64 bits instead of 16, for a count that does not fit. */
static bool widen(struct q2_clusters *clusters, struct q2_cluster_chunk *chunk)
{
	chunk->many = q2_memory_get(clusters->memory, Q2_CHUNK_CLUSTERS, sizeof(*chunk->many));
	if (!chunk->many)
		return false;
	for (size_t i = 0; chunk->few && i < Q2_CHUNK_CLUSTERS; i++)
		chunk->many[i] = chunk->few[i];
	q2_memory_put(clusters->memory, chunk->few, Q2_CHUNK_CLUSTERS, sizeof(*chunk->few));
	chunk->few = NULL;
	return true;
}

static void set_counter(struct q2_clusters *clusters, struct q2_cluster_chunk *chunk, unsigned at,
			uint64_t counter)
{
	bool fits = counter <= UINT16_MAX;

	if (fits && !chunk->few && !chunk->many)
		chunk->few =
			q2_memory_get(clusters->memory, Q2_CHUNK_CLUSTERS, sizeof(*chunk->few));
	if (chunk->few && fits)
		chunk->few[at] = (uint16_t)counter;
	else if (chunk->many || (!fits && widen(clusters, chunk)))
		chunk->many[at] = counter;
	else
		clusters->failed = true;
}

/* A cluster's counter. A single reference has none, and is made into one from the cluster's use. */
static uint64_t full_counter(const struct q2_cluster_chunk *chunk, unsigned at)
{
	uint64_t counter = counter_at(chunk, at);
	enum qcow2_claim_use use = use_at(chunk, at);

	if (counter == 0 && use != QCOW2_USE_NONE)
		return UINT64_C(1) << Q2_FLAG_BITS | flags_of(use);
	return counter;
}

static uint64_t add_counters(uint64_t a, uint64_t b, unsigned flags)
{
	uint64_t count = (a >> Q2_FLAG_BITS) + (b >> Q2_FLAG_BITS),
		 most = UINT64_MAX >> Q2_FLAG_BITS;

	return (count < most ? count : most) << Q2_FLAG_BITS | ((a | b | flags) & FLAGS);
}

/* Clusters of one group that are seen again, or for the first time more than once. */
static void mark_again(struct q2_clusters *clusters, struct q2_cluster_chunk *chunk, unsigned group,
		       uint64_t mask, struct q2_cluster_state mark)
{
	for (; mask != 0; mask &= mask - 1) {
		unsigned at = group * 64 + (unsigned)__builtin_ctzll(mask);
		enum qcow2_claim_use first = use_at(chunk, at);
		uint64_t counter = full_counter(chunk, at);
		unsigned clash = first != QCOW2_USE_NONE && conflicts(first, mark.use)
					 ? Q2_SEEN_CONFLICT
					 : 0;

		set_counter(clusters, chunk, at,
			    add_counters(counter, mark.count << Q2_FLAG_BITS | mark.flags, clash));
	}
}

/*
 * Clusters in a row that nothing was known of, referenced more than once from the start: what
 * snapshots share. False if their counters are not small ones.
 */
static bool mark_shared(struct q2_clusters *clusters, struct q2_cluster_chunk *chunk,
			unsigned group, uint64_t mask, const struct q2_cluster_state *mark)
{
	uint16_t *few;

	if (mark->count > Q2_FEW_MOST || chunk->many)
		return false;
	few = need_few(clusters, chunk) ? chunk->few + (size_t)group * 64 : NULL;
	for (unsigned i = (unsigned)__builtin_ctzll(mask); few && i < 64 && mask >> i & 1; i++)
		few[i] = (uint16_t)(mark->count << Q2_FLAG_BITS | mark->flags);
	return true;
}

static void mark_group(struct q2_clusters *clusters, struct q2_cluster_chunk *chunk, unsigned group,
		       uint64_t mask, const struct q2_cluster_state *mark)
{
	uint64_t *uses = chunk->uses[group];
	uint64_t seen = (uses[0] | uses[1] | uses[2]) & mask;
	uint64_t fresh = mask & ~seen;

	if (mark->count == 1)
		mark_again(clusters, chunk, group, seen, *mark);
	else if (seen || !mark_shared(clusters, chunk, group, mask, mark))
		mark_again(clusters, chunk, group, mask, *mark);
	uses[0] |= mark->use & 1 ? fresh : 0;
	uses[1] |= mark->use & 2 ? fresh : 0;
	uses[2] |= mark->use & 4 ? fresh : 0;
}

void q2_clusters_mark(struct q2_clusters *clusters, uint64_t first, uint64_t count,
		      enum qcow2_claim_use use, uint64_t weight)
{
	const struct q2_cluster_state mark = {weight, use, flags_of(use)};

	assert(first <= clusters->cluster_count && count <= clusters->cluster_count - first);
	while (count > 0) {
		struct q2_cluster_chunk *chunk = q2_clusters_chunk(clusters, first);
		unsigned bit = (unsigned)(first % 64);
		uint64_t here = 64 - bit < count ? 64 - bit : count;

		if (!chunk)
			chunk = need_chunk(clusters, first / Q2_CHUNK_CLUSTERS);
		if (!chunk)
			return;
		mark_group(clusters, chunk, (unsigned)(first / 64 % Q2_CHUNK_GROUPS),
			   UINT64_MAX >> (64 - here) << bit, &mark);
		first += here;
		count -= here;
	}
}

/* One cluster that both know. */
static void merge_cluster(struct q2_clusters *clusters, struct q2_cluster_chunk *to,
			  const struct q2_cluster_chunk *from, unsigned at)
{
	unsigned clash = conflicts(use_at(to, at), use_at(from, at)) ? Q2_SEEN_CONFLICT : 0;

	set_counter(clusters, to, at,
		    add_counters(full_counter(to, at), full_counter(from, at), clash));
}

static void merge_group(struct q2_clusters *clusters, struct q2_cluster_chunk *to,
			const struct q2_cluster_chunk *from, unsigned group)
{
	uint64_t *a = to->uses[group];
	const uint64_t *b = from->uses[group];
	uint64_t known = a[0] | a[1] | a[2], both = known & (b[0] | b[1] | b[2]);

	for (uint64_t bits = both; bits != 0; bits &= bits - 1)
		merge_cluster(clusters, to, from, group * 64 + (unsigned)__builtin_ctzll(bits));
	for (unsigned i = 0; i < 64 && (from->few || from->many); i++) {
		uint64_t counter = counter_at(from, group * 64 + i);

		if (counter != 0 && !(both >> i & 1))
			set_counter(clusters, to, group * 64 + i, counter);
	}
	for (unsigned plane = 0; plane < 3; plane++)
		a[plane] |= b[plane] & ~known;
}

static void merge_chunk(struct q2_clusters *clusters, uint64_t index,
			struct q2_cluster_chunk **from)
{
	struct q2_cluster_chunk **to = chunk_slot(clusters, index);

	if (!to)
		return;
	if (!*to) {
		*to = *from;
		*from = NULL;
		return;
	}
	for (unsigned group = 0; group < Q2_CHUNK_GROUPS; group++)
		merge_group(clusters, *to, *from, group);
	q2_chunk_free(clusters->memory, *from);
	*from = NULL;
}

void q2_clusters_merge(struct q2_clusters *clusters, struct q2_clusters *other,
		       struct q2_cluster_part part)
{
	struct q2_cluster_leaf *leaf = other->leaves[part.leaf];

	for (size_t i = part.chunk; leaf && i < part.chunk + Q2_PART_CHUNKS; i++)
		if (leaf->chunks[i])
			merge_chunk(clusters, part.leaf * Q2_LEAF_CHUNKS + i, &leaf->chunks[i]);
}

void q2_clusters_note(struct q2_clusters *clusters, uint64_t cluster, enum qcow2_claim_use use)
{
	struct q2_cluster_leaf *leaf = q2_clusters_need_leaf(clusters, cluster / Q2_LEAF_CLUSTERS);
	uint64_t **words;

	if (!leaf)
		return;
	words = &leaf->fresh[use - QCOW2_USE_DATA][cluster / Q2_FRESH_CLUSTERS % Q2_LEAF_FRESH];
	if (!*words)
		*words = q2_memory_get(clusters->memory, Q2_FRESH_WORDS, sizeof(**words));
	if (!*words)
		clusters->failed = true;
	else if (!q2_clusters_note_fresh(clusters, cluster, use))
		q2_clusters_mark(clusters, cluster, 1, use, 1);
}

/* Makes known what one bitset says of the clusters from first on. */
static void fold_words(struct q2_clusters *clusters, const uint64_t *words, uint64_t first,
		       enum qcow2_claim_use use)
{
	const struct q2_cluster_state mark = {1, use, flags_of(use)};

	for (unsigned i = 0; i < Q2_FRESH_WORDS; i++) {
		uint64_t cluster = first + i * UINT64_C(64);
		struct q2_cluster_chunk *chunk;

		if (words[i] == 0)
			continue;
		chunk = need_chunk(clusters, cluster / Q2_CHUNK_CLUSTERS);
		if (chunk)
			mark_group(clusters, chunk, (unsigned)(cluster / 64 % Q2_CHUNK_GROUPS),
				   words[i], &mark);
	}
}

_Static_assert(Q2_PART_CHUNKS *Q2_CHUNK_CLUSTERS % Q2_FRESH_CLUSTERS == 0,
	       "a part has whole bitsets");

void q2_clusters_fold(struct q2_clusters *clusters, struct q2_clusters *source,
		      struct q2_cluster_part part)
{
	struct q2_cluster_leaf *leaf = source->leaves[part.leaf];
	size_t first = (size_t)part.chunk * Q2_CHUNK_CLUSTERS / Q2_FRESH_CLUSTERS;
	size_t end = first + Q2_PART_CHUNKS * Q2_CHUNK_CLUSTERS / Q2_FRESH_CLUSTERS;

	for (size_t use = 0; leaf && use < Q2_FRESH_USES; use++) {
		for (size_t i = first; i < end; i++) {
			uint64_t **words = &leaf->fresh[use][i];

			if (!*words)
				continue;
			fold_words(clusters, *words,
				   part.leaf * Q2_LEAF_CLUSTERS + i * Q2_FRESH_CLUSTERS,
				   (enum qcow2_claim_use)(QCOW2_USE_DATA + use));
			q2_memory_put(source->memory, *words, Q2_FRESH_WORDS, sizeof(**words));
			*words = NULL;
		}
	}
}

void q2_clusters_set_count(struct q2_clusters *clusters, uint64_t cluster, uint64_t count)
{
	struct q2_cluster_chunk *chunk = need_chunk(clusters, cluster / Q2_CHUNK_CLUSTERS);
	unsigned at = (unsigned)(cluster % Q2_CHUNK_CLUSTERS), bit = at % 64;
	uint64_t *uses;
	uint64_t flags, most = UINT64_MAX >> Q2_FLAG_BITS;

	if (!chunk)
		return;
	uses = chunk->uses[at / 64];
	flags = full_counter(chunk, at) & FLAGS;
	if (count > most)
		count = most;
	if (count == 0) {
		for (unsigned plane = 0; plane < 3; plane++)
			uses[plane] &= ~(UINT64_C(1) << bit);
		if (counter_at(chunk, at) != 0)
			set_counter(clusters, chunk, at, 0);
		return;
	}
	if (use_at(chunk, at) == QCOW2_USE_NONE) {
		uses[0] |= (uint64_t)(QCOW2_USE_METADATA & 1) << bit;
		uses[1] |= (uint64_t)(QCOW2_USE_METADATA >> 1 & 1) << bit;
		uses[2] |= (uint64_t)(QCOW2_USE_METADATA >> 2 & 1) << bit;
	}
	if (count != 1 || counter_at(chunk, at) != 0)
		set_counter(clusters, chunk, at, count << Q2_FLAG_BITS | flags);
}

void q2_clusters_drop(struct q2_clusters *clusters, uint64_t cluster)
{
	uint64_t count = q2_clusters_get(clusters, cluster).count;

	if (count > 0)
		q2_clusters_set_count(clusters, cluster, count - 1);
}

bool q2_clusters_extend(struct q2_clusters *clusters, uint64_t cluster_count)
{
	uint64_t leaf_count = cluster_count / Q2_LEAF_CLUSTERS + 1;
	struct q2_cluster_leaf **leaves;

	if (cluster_count <= clusters->cluster_count)
		return true;
	if (cluster_count > CLUSTERS_MAX)
		return false;
	if (leaf_count > clusters->leaf_count) {
		leaves = q2_memory_get(clusters->memory, leaf_count, sizeof(*leaves));
		if (!leaves)
			return false;
		memcpy(leaves, clusters->leaves,
		       (size_t)clusters->leaf_count * sizeof(struct q2_cluster_leaf *));
		q2_memory_put(clusters->memory, clusters->leaves, clusters->leaf_count,
			      sizeof(*clusters->leaves));
		clusters->leaves = leaves;
		clusters->leaf_count = leaf_count;
	}
	clusters->cluster_count = cluster_count;
	return true;
}

struct q2_cluster_state q2_chunk_state(const struct q2_cluster_chunk *chunk, unsigned at)
{
	uint64_t counter = full_counter(chunk, at);

	return (struct q2_cluster_state){.count = counter >> Q2_FLAG_BITS,
					 .use = use_at(chunk, at),
					 .flags = counter & FLAGS};
}

struct q2_cluster_state q2_clusters_get(const struct q2_clusters *clusters, uint64_t cluster)
{
	const struct q2_cluster_chunk *chunk = q2_clusters_chunk(clusters, cluster);

	return chunk ? q2_chunk_state(chunk, (unsigned)(cluster % Q2_CHUNK_CLUSTERS))
		     : (struct q2_cluster_state){0};
}

/* The end of the clusters from one on that have the same use. */
static unsigned use_end(const struct q2_cluster_chunk *chunk, unsigned at)
{
	enum qcow2_claim_use use = use_at(chunk, at);
	uint64_t mask = UINT64_MAX << (at % 64);

	for (unsigned group = at / 64; group < Q2_CHUNK_GROUPS; group++, mask = UINT64_MAX) {
		const uint64_t *uses = chunk->uses[group];
		uint64_t other = (uses[0] ^ (use & 1 ? UINT64_MAX : 0)) |
				 (uses[1] ^ (use & 2 ? UINT64_MAX : 0)) |
				 (uses[2] ^ (use & 4 ? UINT64_MAX : 0));

		if (other & mask)
			return group * 64 + (unsigned)__builtin_ctzll(other & mask);
	}
	return Q2_CHUNK_CLUSTERS;
}

unsigned q2_chunk_run_end(const struct q2_cluster_chunk *chunk, unsigned at)
{
	unsigned end = use_end(chunk, at), i = at + 1;

	if (!chunk->few && !chunk->many)
		return end;
	while (i < end && counter_at(chunk, i) == counter_at(chunk, at))
		i++;
	return i;
}
