/* SPDX-License-Identifier: MIT */
/* See judge.h. */
#include "check/judge.h"

static uint64_t largest_refcount(const struct q2_check *check)
{
	return UINT64_MAX >> (64 - check->geometry->refcount_bits);
}

/* Counting goes on after memory was short: only the first error is kept. */
static void add_bad(const struct q2_judge *judge, enum q2_bad kind,
		    const struct q2_bad_cluster *item, bool lags)
{
	struct q2_worker *worker = judge->worker;

	if (!lags || (kind != Q2_BAD_REFCOUNT_LOW && kind != Q2_BAD_COPIED_SET))
		q2_damage_hear_clusters(judge->check, worker, q2_bad_id(kind),
					item->cluster - item->cluster % 64,
					UINT64_C(1) << (item->cluster % 64));
	if (!q2_bad_list_add(&worker->bad[kind], item) && !worker->failed)
		q2_worker_fail_memory(worker);
}

/*
 * In an image that was not closed, refcounts and copied flags may lag behind: whoever writes next
 * has to count anew first ("Header", dirty bit), so that nothing is overwritten. But without
 * snapshots, no writer leaves two entries that lead to one cluster, unless it is of compressed data.
 */
static bool may_lag(const struct q2_check *check, const struct q2_cluster_state *state)
{
	return (check->header->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY) &&
	       (state->count < 2 || state->use == QCOW2_USE_COMPRESSED ||
		check->header->nb_snapshots > 0);
}

/* Judges a cluster whose refcount may be wrong. */
static void judge_one(const struct q2_judge *judge, uint64_t cluster, uint64_t refcount)
{
	const struct q2_check *check = judge->check;
	const struct qcow2_check_options *options = check->options;
	struct q2_cluster_state state = q2_clusters_get(&check->workers[0].clusters, cluster);
	struct q2_bad_cluster item = {
		.cluster = cluster, .refcount = refcount, .count = state.count};
	uint64_t most = largest_refcount(check);
	bool lags = may_lag(check, &state);

	if (options->wants_cluster && !options->wants_cluster(options->opaque, cluster))
		return;
	judge->worker->unreferenced += refcount > 0 && state.count == 0;
	judge->worker->misled |= !lags && refcount > 0 && refcount < state.count;
	/* One that is too narrow to be right is an overflow, however low it is. */
	if (refcount < state.count && refcount < most)
		add_bad(judge, Q2_BAD_REFCOUNT_LOW, &item, lags);
	if (state.count > most)
		add_bad(judge, Q2_BAD_OVERFLOW, &item, lags);
	if (refcount > state.count)
		add_bad(judge, Q2_BAD_REFCOUNT_HIGH, &item, lags);
	if (refcount != 1 && (state.flags & Q2_SEEN_COPIED))
		add_bad(judge, Q2_BAD_COPIED_SET, &item, lags);
	if (refcount == 1 && (state.flags & Q2_SEEN_SHARED))
		add_bad(judge, Q2_BAD_COPIED_CLEAR, &item, lags);
	if (state.flags & Q2_SEEN_CONFLICT)
		add_bad(judge, Q2_BAD_OWNERS, &item, lags);
}

/*
 * The clusters, counted from cluster on, whose bits are set. Without refcounts, all of these are 0.
 */
static void judge_bits(const struct q2_judge *judge, uint64_t cluster, uint64_t bits,
		       const uint8_t *refcounts)
{
	unsigned width = judge->check->geometry->refcount_bits;

	for (; bits != 0; bits &= bits - 1) {
		unsigned i = (unsigned)__builtin_ctzll(bits);

		if (cluster + i >= judge->check->bad_from)
			judge_one(judge, cluster + i,
				  refcounts ? qcow2_refcount_get(refcounts, i, width) : 0);
	}
}

/*
 * The clusters that active entries without the copied flag were the first to refer to: the uses
 * DATA_SHARED (3, 011) and L2_SHARED (6, 110), 64 at a step from their bit planes.
 */
static uint64_t active_unflagged(const uint64_t *uses)
{
	return (uses[0] & uses[1] & ~uses[2]) | (~uses[0] & uses[1] & uses[2]);
}

/* The same with the flag: DATA_COPIED (2, 010) and L2_COPIED (5, 101). */
static uint64_t active_flagged(const uint64_t *uses)
{
	return (~uses[0] & uses[1] & ~uses[2]) | (uses[0] & ~uses[1] & uses[2]);
}

/*
 * Of 64 clusters, those to look at closely. In a chunk without counters nothing is referenced more
 * than once, so a refcount is right if it is 1 where there is a reference and 0 elsewhere, and only
 * an entry without the copied flag can be wrong besides. classes says which refcounts are 0 and 1.
 * In a chunk with wide counters, which are rare, every cluster in use is looked at.
 */
static uint64_t suspects(const struct q2_cluster_chunk *chunk, unsigned group,
			 struct q2_refcount_classes classes)
{
	const uint64_t *uses = chunk->uses[group];
	uint64_t seen = uses[0] | uses[1] | uses[2];

	if (chunk->many)
		return seen | ~classes.zero;
	return (seen & ~classes.one) | (~seen & ~classes.zero) | active_unflagged(uses);
}

/*
 * As suspects(), of a chunk with small counters: what snapshots share. A counter of 0 means at most
 * one reference, which the planes know.
 */
static uint64_t suspects_of_few(const struct q2_check *check, const struct q2_cluster_chunk *chunk,
				unsigned group, const uint8_t *refcounts)
{
	const uint64_t *uses = chunk->uses[group];
	const uint16_t *few = chunk->few + (size_t)group * 64;
	uint64_t seen = uses[0] | uses[1] | uses[2], bits = 0;
	uint64_t unflagged = active_unflagged(uses);
	unsigned width = check->geometry->refcount_bits;

	for (unsigned i = 0; i < 64; i++) {
		uint64_t refcount = qcow2_refcount_get(refcounts, i, width);
		uint64_t expected = few[i] ? few[i] >> 3 : seen >> i & 1;
		bool closer = (few[i] & (Q2_SEEN_CONFLICT | Q2_SEEN_COPIED)) != 0 ||
			      (refcount == 1 && (unflagged >> i & 1));

		bits |= (uint64_t)(refcount != expected || closer) << i;
	}
	return bits;
}

static uint64_t top_bit(uint64_t bits)
{
	return 64 - (uint64_t)__builtin_clzll(bits);
}

/* Notes that clusters up to the highest of bits are in use. */
static void note_highest(struct q2_worker *worker, uint64_t cluster, uint64_t bits)
{
	if (bits != 0 && cluster + top_bit(bits) > worker->highest_cluster)
		worker->highest_cluster = cluster + top_bit(bits);
}

/*
 * Clusters that nothing refers to, of which none would be told: they are counted 64 at once. A
 * hostile image may have billions of them, in refcount blocks that it stores once and names often.
 */
static bool count_leaks(const struct q2_judge *judge, uint64_t cluster, uint64_t bits)
{
	struct q2_bad_list *list = &judge->worker->bad[Q2_BAD_REFCOUNT_HIGH];

	if (cluster < judge->check->bad_from || !q2_bad_list_is_past(list, cluster))
		return false;
	list->total += (uint64_t)__builtin_popcountll(bits);
	judge->worker->unreferenced += (uint64_t)__builtin_popcountll(bits);
	return true;
}

/* Whether what is wrong with a cluster is only a matter of its references and its refcount. */
static bool is_plain(const struct q2_check *check, const struct q2_cluster_chunk *chunk)
{
	return !chunk->few && !chunk->many && !check->options->wants_cluster &&
	       !(check->header->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY);
}

/*
 * Counts the problems of 64 clusters, of which mask are judged, without a look at each of them.
 * That is possible if nothing is referenced more than once and if none would be told: all refcounts
 * of a large image may be wrong. False if they have to be looked at; then nothing is counted.
 */
static bool count_plain(const struct q2_judge *judge, const struct q2_cluster_chunk *chunk,
			uint64_t cluster, struct q2_refcount_classes classes, uint64_t mask)
{
	struct q2_worker *worker = judge->worker;
	const uint64_t *uses = chunk->uses[cluster / 64 % Q2_CHUNK_GROUPS];
	uint64_t seen = uses[0] | uses[1] | uses[2];
	const uint64_t bits[Q2_BAD_KINDS] = {
		[Q2_BAD_REFCOUNT_LOW] = seen & classes.zero & mask,
		[Q2_BAD_REFCOUNT_HIGH] = ~classes.zero & ~(seen & classes.one) & mask,
		[Q2_BAD_COPIED_SET] = active_flagged(uses) & ~classes.one & mask,
		[Q2_BAD_COPIED_CLEAR] = active_unflagged(uses) & classes.one & mask,
	};

	if (cluster < judge->check->bad_from || !is_plain(judge->check, chunk))
		return false;
	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++)
		if (bits[kind] && !q2_bad_list_is_past(&worker->bad[kind], cluster))
			return false;
	for (unsigned kind = 0; kind < Q2_BAD_KINDS; kind++) {
		if (bits[kind] == 0)
			continue;
		worker->bad[kind].total += (uint64_t)__builtin_popcountll(bits[kind]);
		q2_damage_hear_clusters(judge->check, worker, q2_bad_id((enum q2_bad)kind), cluster,
					bits[kind]);
	}
	worker->unreferenced += (uint64_t)__builtin_popcountll(~seen & ~classes.zero & mask);
	return true;
}

/* Notes which clusters past the end of the file refcounts count. */
static void note_beyond(struct q2_worker *worker, uint64_t cluster, uint64_t bits)
{
	if (bits == 0)
		return;
	worker->beyond_end += (uint64_t)__builtin_popcountll(bits);
	if (cluster + top_bit(bits) > worker->beyond_highest)
		worker->beyond_highest = cluster + top_bit(bits);
}

/* Compares 64 refcounts with what was counted for the clusters from cluster on. */
static void compare_group(const struct q2_judge *judge, uint64_t cluster, const uint8_t *refcounts)
{
	const struct q2_check *check = judge->check;
	const struct q2_clusters *clusters = &check->workers[0].clusters;
	uint64_t end = check->file_clusters;
	uint64_t inside = cluster >= end        ? 0
			  : end - cluster >= 64 ? UINT64_MAX
						: UINT64_MAX >> (64 - (end - cluster));
	struct q2_refcount_classes classes = judge->classify(refcounts);
	struct q2_cluster_chunk *chunk =
		cluster < clusters->cluster_count ? q2_clusters_chunk(clusters, cluster) : NULL;
	uint64_t bits = ~classes.zero, seen = 0;

	if (chunk) {
		unsigned group = (unsigned)(cluster / 64 % Q2_CHUNK_GROUPS);

		bits = chunk->few ? suspects_of_few(check, chunk, group, refcounts)
				  : suspects(chunk, group, classes);
		seen = chunk->uses[group][0] | chunk->uses[group][1] | chunk->uses[group][2];
	} else if (count_leaks(judge, cluster, bits & inside))
		bits = 0;
	note_highest(judge->worker, cluster, (~classes.zero & inside) | seen);
	note_beyond(judge->worker, cluster, ~classes.zero & ~inside & ~seen);
	bits &= inside | seen;
	if (bits != 0 && !(chunk && count_plain(judge, chunk, cluster, classes, inside | seen)))
		judge_bits(judge, cluster, bits, refcounts);
}

void q2_judge_block(const struct q2_judge *judge, const struct q2_refcount_block *block,
		    const uint8_t *bytes)
{
	const struct qcow2_geometry *geometry = judge->check->geometry;
	uint64_t first = block->index * geometry->refcount_block_entries;

	for (uint64_t i = 0; i < geometry->refcount_block_entries; i += 64)
		compare_group(judge, first + i, bytes + i * geometry->refcount_bits / 8);
}

void q2_judge_uncounted(const struct q2_judge *judge, uint64_t cluster, uint64_t seen)
{
	const struct q2_refcount_classes none = {.zero = UINT64_MAX};
	const struct q2_cluster_chunk *chunk =
		q2_clusters_chunk(&judge->check->workers[0].clusters, cluster);

	note_highest(judge->worker, cluster, seen);
	if (!chunk || !count_plain(judge, chunk, cluster, none, seen))
		judge_bits(judge, cluster, seen, NULL);
}
