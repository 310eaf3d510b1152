/* SPDX-License-Identifier: MIT */
/* See packed.h. */
#include "check/packed.h"

#include <string.h>

/* Runs of a chunk: more would take more than the chunk, without counters and with them. */
#define RUNS_MOST         ((size_t)160)
#define RUNS_MOST_COUNTED ((size_t)1024)

/* Clusters of a chunk from `first` on, up to the next run. */
struct run {
	uint16_t first;
	uint8_t use, flags;
	uint32_t count;
};

struct q2_packed_chunk {
	struct q2_cluster_chunk *raw; /* NULL: packed */
	size_t run_count;
	struct run runs[];
};

static uint64_t bytes_of(size_t run_count)
{
	return sizeof(struct q2_packed_chunk) + run_count * sizeof(struct run);
}

/* Puts the runs of a chunk into an array; 0 if there are too many, or counts that are too large. */
static size_t find_runs(const struct q2_cluster_chunk *chunk, struct run *runs)
{
	size_t most = chunk->few || chunk->many ? RUNS_MOST_COUNTED : RUNS_MOST, count = 0;

	for (unsigned at = 0; at < Q2_CHUNK_CLUSTERS; at = q2_chunk_run_end(chunk, at)) {
		struct q2_cluster_state state = q2_chunk_state(chunk, at);

		if (count == most || state.count > UINT32_MAX)
			return 0;
		runs[count++] = (struct run){(uint16_t)at, (uint8_t)state.use, (uint8_t)state.flags,
					     (uint32_t)state.count};
	}
	return count;
}

/* Packs one chunk, or keeps it as it is. NULL if memory is short. */
static struct q2_packed_chunk *pack(struct q2_memory *memory, struct q2_cluster_chunk *chunk)
{
	struct run runs[RUNS_MOST_COUNTED];
	size_t count = find_runs(chunk, runs);
	struct q2_packed_chunk *packed = q2_memory_get(memory, bytes_of(count), 1);

	if (!packed)
		return NULL;
	packed->run_count = count;
	if (count == 0) {
		packed->raw = chunk;
		return packed;
	}
	memcpy(packed->runs, runs, count * sizeof(*runs));
	q2_chunk_free(memory, chunk);
	return packed;
}

static bool pack_leaf(struct q2_packed *packed, uint64_t index, struct q2_cluster_leaf *leaf)
{
	struct q2_packed_chunk **chunks =
		q2_memory_get(packed->memory, Q2_LEAF_CHUNKS, sizeof(*chunks));

	packed->leaves[index] = chunks;
	for (size_t i = 0; chunks && i < Q2_LEAF_CHUNKS; i++) {
		if (!leaf->chunks[i])
			continue;
		chunks[i] = pack(packed->memory, leaf->chunks[i]);
		if (!chunks[i])
			return false;
		leaf->chunks[i] = NULL;
	}
	return chunks != NULL;
}

bool q2_packed_take(struct q2_packed *packed, struct q2_clusters *clusters)
{
	bool done = true;

	*packed = (struct q2_packed){.memory = clusters->memory,
				     .leaf_count = clusters->leaf_count,
				     .cluster_count = clusters->cluster_count};
	packed->leaves = q2_memory_get(packed->memory, packed->leaf_count, sizeof(*packed->leaves));
	for (uint64_t i = 0; packed->leaves && done && i < packed->leaf_count; i++)
		if (clusters->leaves[i])
			done = pack_leaf(packed, i, clusters->leaves[i]);
	q2_clusters_release(clusters);
	if (packed->leaves && done)
		return true;
	q2_packed_release(packed);
	return false;
}

static void release_chunk(struct q2_memory *memory, struct q2_packed_chunk *chunk)
{
	if (!chunk)
		return;
	q2_chunk_free(memory, chunk->raw);
	q2_memory_put(memory, chunk, bytes_of(chunk->run_count), 1);
}

void q2_packed_release(struct q2_packed *packed)
{
	if (!packed->leaves)
		return;
	for (uint64_t i = 0; i < packed->leaf_count; i++) {
		if (!packed->leaves[i])
			continue;
		for (size_t k = 0; k < Q2_LEAF_CHUNKS; k++)
			release_chunk(packed->memory, packed->leaves[i][k]);
		q2_memory_put(packed->memory, packed->leaves[i], Q2_LEAF_CHUNKS,
			      sizeof(**packed->leaves));
	}
	q2_memory_put(packed->memory, packed->leaves, packed->leaf_count, sizeof(*packed->leaves));
	packed->leaves = NULL;
}

struct q2_cluster_state q2_packed_get(const struct q2_packed *packed, uint64_t cluster)
{
	uint64_t number = cluster / Q2_CHUNK_CLUSTERS;
	unsigned at = (unsigned)(cluster % Q2_CHUNK_CLUSTERS);
	struct q2_packed_chunk *const *leaf = packed->leaves[number / Q2_LEAF_CHUNKS];
	const struct q2_packed_chunk *chunk = leaf ? leaf[number % Q2_LEAF_CHUNKS] : NULL;
	size_t low = 0, high;

	if (!chunk)
		return (struct q2_cluster_state){0};
	if (chunk->raw)
		return q2_chunk_state(chunk->raw, at);
	/* The last run that begins at the cluster or before. */
	for (high = chunk->run_count; high - low > 1;) {
		size_t middle = low + (high - low) / 2;

		if (chunk->runs[middle].first <= at)
			low = middle;
		else
			high = middle;
	}
	return (struct q2_cluster_state){.count = chunk->runs[low].count,
					 .use = (enum qcow2_claim_use)chunk->runs[low].use,
					 .flags = chunk->runs[low].flags};
}
