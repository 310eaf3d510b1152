/* SPDX-License-Identifier: MIT */
/*
 * See old_blocks.h. A block is known by what it counts: the clusters in use, itself among them, and
 * none behind the end of the file.
 */
#include "repair/refcounts/old_blocks.h"

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "check/classify.h"
#include "repair/refcounts/refcounts.h"
#include "repair/refcounts/trust.h"
#include "repair/result.h"

#define OFFSET QCOW2_ENTRY_MASK(refcount_table_entry, offset)
/* What is read at a time: most clusters that are no blocks show it at once. */
#define PIECE_BYTES ((size_t)4096)
/* Clusters that are read, and how often one is compared with what a block should say. */
#define READS_MOST  UINT64_C(65536)
#define TRIALS_MOST (UINT64_C(1) << 22)

struct search {
	struct q2_recount *r;
	q2_classify classify;
	uint64_t *lost; /* indexes of blocks that are lost */
	size_t lost_count;
	struct q2_bits found; /* clusters that were blocks, or a part of the table */
	uint64_t reads_left, trials_left;
	uint64_t used, right; /* clusters in use that a block counts, and those it counts rightly */
	uint8_t bytes[PIECE_BYTES];
};

static uint64_t piece_size(const struct search *s)
{
	return s->r->cluster_size < PIECE_BYTES ? s->r->cluster_size : PIECE_BYTES;
}

/* Reads a piece of a cluster; what the file does not have is zeros. */
static int read_piece(struct search *s, uint64_t cluster, uint64_t at)
{
	s->reads_left--;
	return q2_plan_read(s->r->repair->plan, (cluster << s->r->cluster_bits) + at, s->bytes,
			    (size_t)piece_size(s), s->r->repair->err);
}

/* Compares 64 refcounts, for the clusters from first on, with the counts. */
static bool group_fits(struct search *s, uint64_t first, uint64_t at, uint64_t self)
{
	struct q2_recount *r = s->r;
	struct q2_refcount_classes old = s->classify(s->bytes + at * r->width / 8);
	uint64_t left = first < r->old_clusters ? r->old_clusters - first : 0, inside, bits;
	const struct q2_cluster_chunk *chunk;

	inside = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
	if ((~inside & ~old.zero) && !r->repair->result->before.sum.file_cut)
		return false;
	if (self - first < 64 && (old.zero >> (self - first) & 1))
		return false;
	bits = q2_trust_used(r->clusters, first) & inside;
	if (bits == 0)
		return true;
	chunk = q2_clusters_chunk(r->clusters, first);
	s->used += (uint64_t)__builtin_popcountll(bits);
	s->right += (uint64_t)__builtin_popcountll(
		bits & (chunk->few || chunk->many ? ~old.zero : old.one));
	return true;
}

/* Most of the clusters in use have to be counted as they are: faults may have been mended. */
static bool is_mostly_right(const struct search *s)
{
	return s->right * 8 >= s->used * 7;
}

static bool piece_fits(struct search *s, uint64_t index, uint64_t at, uint64_t self)
{
	struct q2_recount *r = s->r;
	uint64_t count = piece_size(s) * 8 / r->width;
	uint64_t first = index * r->per_block + at * 8 / r->width;

	for (uint64_t i = 0; i < count; i += 64)
		if (!group_fits(s, first + i, i, self))
			return false;
	return is_mostly_right(s);
}

/* Whether a cluster, whose first piece is read, is the block with an index. */
static int is_block(struct search *s, uint64_t cluster, uint64_t index, bool *is)
{
	uint64_t size = piece_size(s);

	s->used = s->right = 0;
	s->trials_left--;
	*is = piece_fits(s, index, 0, cluster);
	if (!*is || s->r->cluster_size == size)
		goto out;
	for (uint64_t at = size; at < s->r->cluster_size && *is; at += size) {
		if (read_piece(s, cluster, at))
			return -1;
		*is = piece_fits(s, index, at, cluster);
	}
	if (!*is && read_piece(s, cluster, 0))
		return -1;
out:
	*is &= s->used > 0;
	return 0;
}

static int try_block(struct search *s, uint64_t cluster)
{
	bool is = false;

	if (read_piece(s, cluster, 0))
		return -1;
	for (size_t i = 0; i < s->lost_count && !is && s->trials_left > 0; i++)
		if (is_block(s, cluster, s->lost[i], &is))
			return -1;
	if (is)
		q2_bits_add(&s->found, cluster);
	return 0;
}

/* A part of the table leads to such blocks, and nowhere else. */
static int try_table(struct search *s, uint64_t cluster)
{
	uint64_t blocks = 0;

	if (q2_bits_has(&s->found, cluster))
		return 0;
	for (uint64_t at = 0; at < s->r->cluster_size; at += piece_size(s)) {
		if (read_piece(s, cluster, at))
			return -1;
		for (uint64_t i = 0; i < piece_size(s); i += 8) {
			uint64_t word = q2_load_be64(s->bytes + i);

			if (word == 0)
				continue;
			if ((word & ~OFFSET) || word % s->r->cluster_size ||
			    !q2_bits_has(&s->found, word >> s->r->cluster_bits))
				return 0;
			blocks++;
		}
	}
	if (blocks > 0)
		q2_bits_add(&s->found, cluster);
	return 0;
}

static int visit(struct search *s, int (*try)(struct search *s, uint64_t cluster))
{
	uint64_t first = 0, length;

	s->reads_left = READS_MOST;
	while (q2_bits_run(&s->r->presumed.clusters, s->r->old_clusters, &first, &length))
		for (uint64_t end = first + length; first < end; first++)
			if (s->reads_left <= s->r->cluster_size / piece_size(s))
				return 0;
			else if (try(s, first))
				return -1;
	return 0;
}

/* Where nothing of the table is there, the indexes are those of all clusters of the file. */
static int list_lost(struct search *s)
{
	struct q2_recount *r = s->r;
	uint64_t end = (r->old_clusters + r->per_block - 1) / r->per_block;

	if (end > Q2_TABLE_ENTRIES_MOST)
		end = Q2_TABLE_ENTRIES_MOST;
	s->lost = q2_alloc_array((size_t)end, sizeof(*s->lost));
	if (!s->lost)
		return q2_fail_memory(r->repair->err);
	for (uint64_t i = 0; i < end; i++)
		if (q2_recount_is_lost(r, i) || r->entries[i].lost)
			s->lost[s->lost_count++] = i;
	return 0;
}

/* A set has no way to take out a member. */
static int leave_out(struct search *s)
{
	struct q2_recount *r = s->r;
	struct q2_bits rest = {.memory = &r->counted->memory};
	uint64_t first = 0, length;

	if (s->found.count == 0)
		return 0;
	while (q2_bits_run(&r->presumed.clusters, r->old_clusters, &first, &length))
		for (uint64_t end = first + length; first < end; first++)
			if (!q2_bits_has(&s->found, first))
				q2_bits_add(&rest, first);
	q2_bits_release(&r->presumed.clusters);
	r->presumed.clusters = rest;
	return rest.failed || s->found.failed ? q2_memory_fail(&r->counted->memory, r->repair->err)
					      : 0;
}

int q2_old_blocks_leave_out(struct q2_recount *r)
{
	struct search *s = q2_alloc(sizeof(*s));
	int failed;

	if (!s)
		return q2_fail_memory(r->repair->err);
	s->r = r;
	s->classify = q2_classify_choose(r->repair->header->refcount_order);
	s->found.memory = &r->counted->memory;
	s->trials_left = TRIALS_MOST;
	failed = list_lost(s);
	if (!failed && s->lost_count > 0)
		failed = visit(s, try_block) || (s->found.count > 0 && visit(s, try_table)) ||
			 leave_out(s);
	q2_bits_release(&s->found);
	q2_free(s->lost);
	q2_free(s);
	return failed ? -1 : 0;
}
