/* SPDX-License-Identifier: MIT */
/*
 * Judges the clusters that bitmaps refer to. It checks the image as it would be without bitmaps. In
 * that check a cluster that belongs to one bitmap alone is counted once and referred to by nothing.
 * Every other cluster is free, or has another user.
 */
#include "edit/bitmap_trust/claims.h"

#include <stdlib.h>

#include <qcow2/check.h>
#include <qcow2/entry.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/search.h"
#include "check/check.h"
#include "plan/plan.h"

/* At most 192 MiB of claims. An image with more clusters of bitmaps than that is hostile. */
#define CLAIMS_MOST  ((size_t)1 << 23)
#define BITMAPS_MOST ((size_t)1 << 22)

struct q2_bitmap_trust *q2_claims_new(struct qcow2_image *image)
{
	struct q2_bitmap_trust *trust = q2_alloc(sizeof(*trust));

	if (!trust)
		return NULL;
	trust->image = image;
	trust->geometry = qcow2_image_geometry(image);
	trust->directory = QCOW2_PROBLEM_NONE;
	q2_vector_init(&trust->claims, sizeof(struct q2_bitmap_claim), CLAIMS_MOST);
	q2_vector_init(&trust->faults, sizeof(struct q2_bitmap_fault), 2 * CLAIMS_MOST);
	q2_vector_init(&trust->bitmaps, sizeof(struct q2_trusted_bitmap), BITMAPS_MOST);
	return trust;
}

struct q2_trusted_bitmap *q2_claims_bitmap(const struct q2_bitmap_trust *trust, uint64_t index)
{
	return q2_vector_at(&trust->bitmaps, (size_t)index);
}

/* ---- noting ---- */

/* If a claim does not fit, the list is incomplete, and nothing is believed. */
static int push(struct q2_bitmap_trust *trust, struct q2_vector *to, const void *what,
		struct qcow2_error *err)
{
	enum qcow2_error_code code = q2_vector_push(to, what);

	trust->incomplete |= code == QCOW2_ERROR_LIMIT;
	return code == QCOW2_ERROR_MEMORY ? q2_fail_memory(err) : 0;
}

/* Whether a repair took the cluster for bitmaps: its refcount says nothing yet. */
static bool is_own(const struct q2_bitmap_trust *trust, uint64_t cluster)
{
	const struct q2_bitmap_within *within = trust->within;

	return within && within->is_own(within->opaque, cluster);
}

int q2_claims_add(struct q2_bitmap_trust *trust, uint64_t offset, uint64_t size,
		  struct q2_claimant who, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = trust->geometry;
	uint64_t end = geometry->file_size_bytes;

	if (offset >= end || size == 0)
		return 0;
	if (size < end - offset)
		end = offset + size;
	for (uint64_t cluster = offset >> geometry->cluster_bits;
	     cluster <= (end - 1) >> geometry->cluster_bits && !trust->incomplete; cluster++) {
		const struct q2_bitmap_claim claim = {
			cluster, who,
			is_own(trust, cluster) ? QCOW2_PROBLEM_NONE : QCOW2_PROBLEM_REFCOUNT_LOW};

		if (push(trust, &trust->claims, &claim, err))
			return -1;
	}
	return 0;
}

int q2_claims_fault(struct q2_bitmap_trust *trust, struct q2_claimant who, enum qcow2_problem_id id,
		    struct qcow2_error *err)
{
	const struct q2_bitmap_fault fault = {who, id};

	return push(trust, &trust->faults, &fault, err);
}

/* ---- who else uses the clusters ---- */

static int by_cluster(const void *left, const void *right)
{
	const struct q2_bitmap_claim *a = left, *b = right;

	return a->cluster < b->cluster ? -1 : a->cluster > b->cluster;
}

/* Returns the index of the first claim of a cluster, or where it would be. */
static size_t find_claim(const struct q2_bitmap_trust *trust, uint64_t cluster)
{
	const struct q2_bitmap_claim *claims = (const void *)trust->claims.data;
	return q2_rising_lower(
		Q2_RISING(claims, trust->claims.count, struct q2_bitmap_claim, cluster), cluster);
}

static struct q2_bitmap_claim *claim_at(const struct q2_bitmap_trust *trust, size_t at)
{
	return q2_vector_at(&trust->claims, at);
}

static bool is_claimed(const void *opaque, uint64_t cluster)
{
	const struct q2_bitmap_trust *trust = opaque;
	const struct q2_bitmap_claim *claim = claim_at(trust, find_claim(trust, cluster));

	return claim && claim->cluster == cluster;
}

/* Hears of a cluster that is counted and that only bitmaps refer to. */
static int hear(void *opaque, const struct qcow2_problem *problem)
{
	const struct q2_bitmap_trust *trust = opaque;
	uint64_t cluster = problem->cluster_offset_bytes >> trust->geometry->cluster_bits;
	struct q2_bitmap_claim *claim;

	if (problem->expected != 0 || is_own(trust, cluster))
		return 0;
	for (size_t at = find_claim(trust, cluster);
	     (claim = claim_at(trust, at)) && claim->cluster == cluster; at++)
		claim->fault =
			problem->found == 1 ? QCOW2_PROBLEM_NONE : QCOW2_PROBLEM_REFCOUNT_HIGH;
	return 0;
}

static int check_others(struct q2_bitmap_trust *trust, struct qcow2_image *without,
			struct qcow2_error *err)
{
	const struct qcow2_check_options how = {
		.only = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_HIGH),
		.wants_cluster = is_claimed,
		.problem = hear,
		.opaque = trust,
	};
	/* Problems that the check tells of the extension even if the bitmaps bit is clear. */
	static const enum qcow2_problem_id of_bitmaps[] = {
		QCOW2_PROBLEM_BITMAPS_COUNT,
		QCOW2_PROBLEM_BITMAPS_RESERVED,
		QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET,
		QCOW2_PROBLEM_BITMAP_DIRECTORY_BEYOND_END,
	};
	struct q2_check_totals totals;
	uint64_t mine = 0;

	if (q2_check(without, NULL, &totals, err))
		return -1;
	trust->refcounts_low |= totals.by_kind[QCOW2_PROBLEM_REFCOUNT_LOW] > 0 ||
				totals.by_kind[QCOW2_PROBLEM_REFCOUNT_OVERFLOW] > 0;
	for (size_t i = 0; i < sizeof(of_bitmaps) / sizeof(of_bitmaps[0]); i++)
		mine += totals.by_kind[of_bitmaps[i]];
	trust->others_sound = totals.sum.clusters_checked && totals.sum.corruptions == mine;
	return trust->claims.count == 0 ? 0 : q2_check(without, &how, &totals, err);
}

/* Checks the image as a program sees it that knows no bitmaps. */
static int check_without_bitmaps(struct q2_bitmap_trust *trust, struct qcow2_error *err)
{
	uint64_t bits = qcow2_image_header(trust->image)->autoclear_features;
	struct qcow2_source *view = NULL;
	struct qcow2_image *without = NULL;
	struct qcow2_plan *plan;
	int failed;

	if (qcow2_plan_open(qcow2_image_source(trust->image), &plan, err))
		return -1;
	failed = q2_plan_autoclear(plan, QCOW2_PHASE_WITHDRAW, bits & ~QCOW2_AUTOCLEAR_BITMAPS, "",
				   err) ||
		 qcow2_plan_view(plan, &view, err) || qcow2_image_open(view, &without, err) ||
		 check_others(trust, without, err);
	qcow2_image_close(without);
	qcow2_source_close(view);
	qcow2_plan_close(plan);
	return failed ? -1 : 0;
}

/* ---- what follows ---- */

/* Reads the refcount of a cluster; 0 if no block counts it. */
static int read_refcount(const struct q2_bitmap_trust *trust, struct qcow2_table *table,
			 uint64_t cluster, uint64_t *refcount, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = trust->geometry;
	const struct qcow2_header *header = qcow2_image_header(trust->image);
	uint64_t index = cluster / geometry->refcount_block_entries;
	uint64_t entries =
		((uint64_t)header->refcount_table_clusters << geometry->cluster_bits) / 8;
	uint64_t block;

	*refcount = 0;
	if (qcow2_table_begin(table, header->refcount_table_offset, entries) <= index)
		return 0;
	if (qcow2_table_entry(table, index, &block, err))
		return -1;
	block = qcow2_refcount_table_entry_decode(block).offset;
	if (block == 0 || qcow2_table_begin(table, block, geometry->cluster_size_bytes / 8) <
				  geometry->cluster_size_bytes / 8)
		return 0;
	return qcow2_table_refcount(table, cluster % geometry->refcount_block_entries, refcount,
				    err);
}

/* Notes the fault `id` of a claim whose cluster has other users. */
static int take_fault(struct q2_bitmap_trust *trust, const struct q2_bitmap_claim *claim,
		      enum qcow2_problem_id id, struct qcow2_error *err)
{
	struct q2_trusted_bitmap *bitmap;

	if (claim->who.bitmap == Q2_CLAIM_DIRECTORY) {
		trust->directory = id;
		return 0;
	}
	if (claim->who.entry != Q2_CLAIM_TABLE)
		return q2_claims_fault(trust, claim->who, id, err);
	bitmap = q2_claims_bitmap(trust, claim->who.bitmap);
	/* A table whose cluster is counted too often may still be what it was. */
	bitmap->foreign_table |= id != QCOW2_PROBLEM_REFCOUNT_HIGH;
	/* A reason that needs a decision stays; this one replaces the milder ones. */
	if (bitmap->whole == QCOW2_PROBLEM_NONE || bitmap->whole == QCOW2_PROBLEM_BITMAP_IN_USE ||
	    bitmap->whole == QCOW2_PROBLEM_BITMAP_FLAGS_RESERVED ||
	    bitmap->whole == QCOW2_PROBLEM_BITMAP_TABLE_SIZE)
		bitmap->whole = id;
	return 0;
}

/* Judges all claims [first, end) of one cluster. */
/* Notes that something besides bitmaps is wrong with a cluster. */
static void note_doubt(struct q2_bitmap_trust *trust, size_t first, size_t end,
		       enum qcow2_problem_id id)
{
	for (size_t at = first; at < end; at++) {
		uint32_t bitmap = claim_at(trust, at)->who.bitmap;

		if (bitmap == Q2_CLAIM_DIRECTORY)
			trust->directory_doubtful = true;
		else if (id != QCOW2_PROBLEM_REFCOUNT_HIGH ||
			 !q2_claims_bitmap(trust, bitmap)->shared_table)
			q2_claims_bitmap(trust, bitmap)->doubtful = true;
	}
}

static int judge_cluster(struct q2_bitmap_trust *trust, struct qcow2_table *table, size_t first,
			 size_t end, struct qcow2_error *err)
{
	enum qcow2_problem_id id = claim_at(trust, first)->fault;
	uint64_t refcount;

	if (id == QCOW2_PROBLEM_REFCOUNT_LOW) {
		if (read_refcount(trust, table, claim_at(trust, first)->cluster, &refcount, err))
			return -1;
		if (refcount > 0)
			id = QCOW2_PROBLEM_CLUSTER_OWNERS;
		else
			trust->refcounts_low = true;
	}
	if (id == QCOW2_PROBLEM_REFCOUNT_LOW || id == QCOW2_PROBLEM_CLUSTER_OWNERS ||
	    (id == QCOW2_PROBLEM_REFCOUNT_HIGH && end - first == 1))
		note_doubt(trust, first, end, id);
	if (end - first > 1)
		id = QCOW2_PROBLEM_CLUSTER_OWNERS;
	for (size_t at = first; at < end && id != QCOW2_PROBLEM_NONE; at++) {
		const struct q2_bitmap_claim *claim = claim_at(trust, at);

		/*
		 * No program writes data or tables where a directory is. If the cluster holds a
		 * directory, the pointer of the other bitmap is wrong.
		 */
		if (claim->who.bitmap == Q2_CLAIM_DIRECTORY && claim->fault == QCOW2_PROBLEM_NONE)
			continue;
		if (take_fault(trust, claim, id, err))
			return -1;
	}
	return 0;
}

int q2_by_claimant(const void *left, const void *right)
{
	const struct q2_bitmap_fault *a = left, *b = right;

	if (a->who.bitmap != b->who.bitmap)
		return a->who.bitmap < b->who.bitmap ? -1 : 1;
	if (a->who.entry != b->who.entry)
		return a->who.entry < b->who.entry ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static void sort(struct q2_vector *vector, int (*compare)(const void *, const void *))
{
	if (vector->count > 0)
		qsort(vector->data, vector->count, vector->element_size, compare);
}

int q2_claims_judge(struct q2_bitmap_trust *trust, struct qcow2_error *err)
{
	struct qcow2_table *table;
	int failed = 0;

	sort(&trust->claims, by_cluster);
	if (check_without_bitmaps(trust, err) || qcow2_table_open(trust->image, &table, err))
		return -1;
	for (size_t first = 0, end; first < trust->claims.count && !failed; first = end) {
		for (end = first + 1;
		     end < trust->claims.count &&
		     claim_at(trust, end)->cluster == claim_at(trust, first)->cluster;
		     end++)
			;
		failed = judge_cluster(trust, table, first, end, err);
	}
	qcow2_table_close(table);
	sort(&trust->faults, q2_by_claimant);
	/* Only faults are needed from here on. */
	q2_vector_release(&trust->claims);
	return failed;
}
