/* SPDX-License-Identifier: MIT */
/*
 * Clusters that nothing refers to and whose refcounts are lost: the block or the table is made anew,
 * or its bytes were overwritten. Nothing says whether they are free or hold what a mapping that is
 * lost as well led to. So they are taken for leaks, and the check judges whether these may be lost
 * data of the guest, as it judges leaks elsewhere. If so, they keep a refcount of 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repair/refcounts/old_blocks.h"
#include "repair/refcounts/refcounts.h"
#include "repair/refcounts/trust.h"

#define PIECE_BYTES ((size_t)65536)

/* The cluster behind the hole in which a cluster lies as a whole; itself if it does not. */
static uint64_t past_hole(const struct q2_recount *r, uint64_t cluster)
{
	const struct qcow2_source *view = r->repair->view;
	uint64_t at = cluster << r->cluster_bits, end;

	if (at >= qcow2_source_size_bytes(view))
		return r->old_clusters;
	end = qcow2_source_hole_end(view, at);
	if (end >= qcow2_source_size_bytes(view))
		return end > at ? r->old_clusters : cluster;
	return end >> r->cluster_bits > cluster ? end >> r->cluster_bits : cluster;
}

/*
 * What something referred to before the repair is not lost: the repair put it elsewhere, or dropped a
 * snapshot because it was told to.
 */
static bool was_used(const struct q2_recount *r, uint64_t cluster)
{
	const struct q2_references *first = r->repair->counted_first;

	return first && first != r->counted && r->repair->counted_first_bits == r->cluster_bits &&
	       q2_references_of(first, cluster) > 0 && !q2_recount_was_given_up(r, cluster);
}

/* The next cluster from `at` on, before end, that nothing refers to; or end. */
static uint64_t next_free(const struct q2_recount *r, uint64_t at, uint64_t end)
{
	while (at < end) {
		uint64_t free = ~q2_trust_used(r->clusters, at & ~UINT64_C(63)) >> at % 64;

		if (free != 0) {
			at += (uint64_t)__builtin_ctzll(free);
			return at < end ? at : end;
		}
		at = (at | 63) + 1;
	}
	return end;
}

/* Of the clusters [first, end), takes those that nothing refers to and that are no holes. */
static void presume(struct q2_recount *r, uint64_t first, uint64_t end)
{
	if (end > r->old_clusters)
		end = r->old_clusters;
	for (uint64_t at = next_free(r, first, end); at < end; at = next_free(r, at, end)) {
		uint64_t past = past_hole(r, at);

		if (past > at) {
			at = past;
			continue;
		}
		if (!was_used(r, at))
			q2_bits_add(&r->presumed.clusters, at);
		at++;
	}
}

/* Of a block that stays: parts of it may be lost. Refcounts there that are not 0 are leaks anyway. */
static int presume_kept(struct q2_recount *r, uint64_t index)
{
	unsigned order = r->repair->header->refcount_order;
	uint64_t first = index * r->per_block, count = Q2_TRUST_BYTES * UINT64_C(8) >> order;

	for (uint64_t at = 0; at < r->cluster_size && first < r->old_clusters;
	     at += r->piece_bytes) {
		if (q2_recount_read(r, index, at, r->piece_bytes))
			return -1;
		for (size_t i = 0; i < r->piece_bytes; i += Q2_TRUST_BYTES, first += count)
			if (q2_trust_is_lost(r->clusters, order, r->old_bytes + i, first)) {
				r->entries[index].lost = true;
				presume(r, first, first + count);
			}
	}
	return 0;
}

static int presume_all(struct q2_recount *r)
{
	uint64_t end = (r->old_clusters + r->per_block - 1) / r->per_block;
	bool low = r->repair->found->by_kind[QCOW2_PROBLEM_REFCOUNT_LOW] > 0;

	if (end > Q2_TABLE_ENTRIES_MOST)
		end = Q2_TABLE_ENTRIES_MOST;
	for (uint64_t i = 0; i < end; i++) {
		if (q2_recount_is_lost(r, i))
			presume(r, i * r->per_block, (i + 1) * r->per_block);
		else if (r->entries[i].state == Q2_BLOCK_KEPT && low && presume_kept(r, i))
			return -1;
	}
	return r->presumed.clusters.failed ? q2_memory_fail(&r->counted->memory, r->repair->err)
					   : 0;
}

/* Whether what was presumed may be data. What the repair gave up may have led to any of it. */
static int judge(struct q2_recount *r, bool *may_be_data)
{
	struct q2_repair *repair = r->repair;
	const struct qcow2_check_options how = {
		.threads = repair->options->threads,
		.memory_limit_bytes = repair->options->memory_limit_bytes,
		.clusters_untold = true,
		.lost_mappings = true,
	};

	*may_be_data = repair->gave_up || r->spares;
	if (*may_be_data)
		return 0;
	r->presumed.needs_flags = repair->header->nb_snapshots == 0;
	r->presumed.are_owners_told = r->table_fault == QCOW2_PROBLEM_CLUSTER_OWNERS;
	for (uint64_t i = 0; i < r->entries_end; i++)
		r->presumed.are_owners_told |= r->entries[i].fault == QCOW2_PROBLEM_CLUSTER_OWNERS;
	return q2_check_presumed(repair->image, &how, &r->presumed, may_be_data, repair->err);
}

/* Whether a cluster holds anything but zeros, as far as the file has it. */
static int has_content(struct q2_recount *r, uint64_t cluster, uint8_t *bytes, bool *content)
{
	const struct qcow2_source *view = r->repair->view;
	uint64_t at = cluster << r->cluster_bits, end = at + r->cluster_size;

	*content = false;
	if (end > qcow2_source_size_bytes(view))
		end = qcow2_source_size_bytes(view);
	for (; at < end && !*content; at += PIECE_BYTES) {
		size_t size = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;

		if (q2_plan_read(r->repair->plan, at, bytes, size, r->repair->err))
			return -1;
		*content = bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0;
	}
	return 0;
}

/* Gives what was presumed, and holds anything, a refcount of 1. */
static int keep_all(struct q2_recount *r)
{
	uint64_t first = 0, length;
	uint8_t *bytes = q2_alloc_buffer(PIECE_BYTES);
	int failed = 0;

	if (!bytes)
		return q2_fail_memory(r->repair->err);
	while (!failed && q2_bits_run(&r->presumed.clusters, r->old_clusters, &first, &length)) {
		for (uint64_t end = first + length; first < end && !failed; first++) {
			bool content;

			failed = has_content(r, first, bytes, &content);
			if (failed || !content)
				continue;
			q2_clusters_set_count(r->clusters, first, 1);
			q2_bits_add(&r->counted->spared, first);
			if (r->spared++ == 0)
				r->spared_first = first;
		}
	}
	q2_free(bytes);
	if (!failed && (r->clusters->failed || r->counted->spared.failed))
		return q2_memory_fail(&r->counted->memory, r->repair->err);
	return failed;
}

static void leave(struct q2_recount *r)
{
	struct q2_repair *repair = r->repair;

	r->may_lower = false;
	r->restricted = true;
	repair->spared = true;
	q2_repair_leave(repair, QCOW2_PROBLEM_REFCOUNT_HIGH,
			"leaked clusters may be lost data of the guest");
	repair->why[QCOW2_PROBLEM_REFCOUNT_HIGH].wants_free_lost = true;
}

int q2_recount_spare_lost(struct q2_recount *r)
{
	bool may_be_data = false;
	int failed;

	r->presumed.clusters.memory = &r->counted->memory;
	/* What may not be counted at all is not counted as leaked, either. */
	if (r->repair->options->free_lost || !r->may_raise)
		return 0;
	failed = presume_all(r);
	if (!failed && r->presumed.clusters.count > 0)
		failed = q2_old_blocks_leave_out(r);
	if (!failed && r->presumed.clusters.count > 0)
		failed = judge(r, &may_be_data);
	if (!failed && may_be_data)
		failed = keep_all(r);
	if (!failed && r->spared > 0)
		leave(r);
	r->repair->is_free_known = !failed && !may_be_data;
	q2_bits_release(&r->presumed.clusters);
	return failed;
}
