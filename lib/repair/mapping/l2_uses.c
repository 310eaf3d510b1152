/* SPDX-License-Identifier: MIT */
/* See l2_uses.h. */
#include "repair/mapping/l2_uses.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/search.h"
#include "claims/l2.h"

/* A hostile image can claim everything again and again: then everything counts as contested. */
#define STEPS_MOST (UINT64_C(1) << 28)

static int grow(struct q2_uses *uses, void **array, size_t *capacity, size_t size)
{
	size_t more = *capacity ? *capacity * 2 : 64;
	void *larger = q2_realloc_array(*array, more, size);

	if (!larger)
		return q2_fail_memory(uses->repair->err);
	*array = larger;
	*capacity = more;
	return 0;
}

int q2_uses_add_area(struct q2_uses *uses, const struct q2_use_area *area)
{
	if (uses->area_count == uses->area_capacity &&
	    grow(uses, (void **)&uses->areas, &uses->area_capacity, sizeof(*uses->areas)))
		return -1;
	uses->areas[uses->area_count++] = *area;
	if (area->end - area->start > uses->longest)
		uses->longest = area->end - area->start;
	return 0;
}

int q2_uses_add_cluster(struct q2_uses *uses, uint64_t offset, struct q2_use_key key)
{
	if (uses->cluster_count == Q2_USES_CLUSTERS_MOST)
		return 0;
	if (uses->cluster_count == uses->cluster_capacity &&
	    grow(uses, (void **)&uses->clusters, &uses->cluster_capacity, sizeof(*uses->clusters)))
		return -1;
	uses->clusters[uses->cluster_count++] =
		(struct q2_use_cluster){.offset = offset, .key = key};
	return 0;
}

static int by_start(const void *left, const void *right)
{
	const struct q2_use_area *a = left, *b = right;

	return a->start < b->start ? -1 : a->start > b->start;
}

static int by_cluster(const void *left, const void *right)
{
	const struct q2_use_cluster *a = left, *b = right;

	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static int compare_keys(const struct q2_use_key *a, const struct q2_use_key *b)
{
	if (a->list != b->list)
		return a->list < b->list ? -1 : 1;
	return a->l1_index < b->l1_index ? -1 : a->l1_index > b->l1_index;
}

static int by_key(const void *left, const void *right)
{
	return compare_keys(left, right);
}

/* What two entries ask for is neither's. */
static void sort_questions(struct q2_uses *uses)
{
	size_t kept = 0;

	if (uses->area_count > 1)
		qsort(uses->areas, uses->area_count, sizeof(*uses->areas), by_start);
	if (uses->cluster_count > 1)
		qsort(uses->clusters, uses->cluster_count, sizeof(*uses->clusters), by_cluster);
	for (size_t i = 1; i < uses->cluster_count; i++) {
		if (uses->clusters[i].offset == uses->clusters[kept].offset)
			uses->clusters[kept].contested = true;
		else
			uses->clusters[++kept] = uses->clusters[i];
	}
	if (uses->cluster_count > 0)
		uses->cluster_count = kept + 1;
}

/* The first area that starts at or behind an offset. */
static size_t find_area(const struct q2_uses *uses, uint64_t start)
{
	return q2_rising_lower(Q2_RISING(uses->areas, uses->area_count, struct q2_use_area, start),
			       start);
}

static size_t find_cluster(const struct q2_uses *uses, uint64_t offset)
{
	return q2_rising_lower(
		Q2_RISING(uses->clusters, uses->cluster_count, struct q2_use_cluster, offset),
		offset);
}

static void note_areas(struct q2_uses *uses, const struct qcow2_claim *claim, uint64_t end)
{
	uint64_t from =
		claim->offset_bytes > uses->longest ? claim->offset_bytes - uses->longest : 0;

	for (size_t i = find_area(uses, from); i < uses->area_count; i++) {
		struct q2_use_area *area = &uses->areas[i];

		if (area->start >= end)
			break;
		uses->steps++;
		if (area->end > claim->offset_bytes &&
		    (claim->part != area->part || claim->offset_bytes != area->table))
			area->contested = true;
	}
}

static bool is_of(const struct q2_use_key *key, const struct qcow2_claim *claim)
{
	return claim->part == QCOW2_CLAIM_DATA && key->entry != Q2_USE_OF_NONE &&
	       key->list == q2_claim_list(claim) && key->l1_index == claim->index &&
	       key->entry == claim->entry;
}

/* Whether a claim could share the cluster with who asks for it. */
static bool may_share(const struct q2_use_cluster *cluster, const struct qcow2_claim *claim)
{
	if (cluster->key.entry == Q2_USE_OF_NONE)
		return claim->part == QCOW2_CLAIM_L2_TABLE;
	return claim->part == QCOW2_CLAIM_DATA && claim->use != QCOW2_USE_COMPRESSED;
}

static void note_clusters(struct q2_uses *uses, const struct qcow2_claim *claim, uint64_t end)
{
	uint64_t within = uses->repair->geometry->cluster_size_bytes - 1;
	uint64_t first = claim->offset_bytes & ~within;

	for (size_t i = find_cluster(uses, first); i < uses->cluster_count; i++) {
		struct q2_use_cluster *cluster = &uses->clusters[i];

		if (cluster->offset >= end)
			break;
		uses->steps++;
		if (is_of(&cluster->key, claim))
			continue;
		cluster->others += claim->weight;
		cluster->contested |= !may_share(cluster, claim);
	}
}

/* Notes an L2 table that no program reads. They come in the order of their places. */
static int note_refused(struct q2_uses *uses, const struct qcow2_claim *claim)
{
	if (uses->refused_count == uses->refused_capacity &&
	    grow(uses, (void **)&uses->refused, &uses->refused_capacity, sizeof(*uses->refused)))
		return -1;
	uses->refused[uses->refused_count++] = (struct q2_use_key){
		.list = q2_claim_list(claim), .l1_index = (uint32_t)claim->index};
	return 0;
}

/* Asked for the first time when all tables have been told. */
static bool is_refused(struct q2_uses *uses, const struct qcow2_claim *claim)
{
	const struct q2_use_key key = {.list = q2_claim_list(claim),
				       .l1_index = (uint32_t)claim->index};

	if (uses->refused_count == 0)
		return false;
	if (!uses->refused_sorted)
		qsort(uses->refused, uses->refused_count, sizeof(key), by_key);
	uses->refused_sorted = true;
	return bsearch(&key, uses->refused, uses->refused_count, sizeof(key), by_key) != NULL;
}

static int hear(void *opaque, const struct qcow2_claim *claim)
{
	struct q2_uses *uses = opaque;
	uint64_t cluster = uses->repair->geometry->cluster_size_bytes;
	uint64_t length = claim->length_bytes, at = claim->offset_bytes % cluster;

	if (uses->steps > STEPS_MOST || length == 0)
		return 0;
	if (claim->part == QCOW2_CLAIM_L2_TABLE && at != 0)
		return note_refused(uses, claim);
	if (claim->part == QCOW2_CLAIM_DATA) {
		if (is_refused(uses, claim))
			return 0;
		/* Data that is not aligned cannot be read; where it belongs, if anywhere, is here. */
		if (claim->use != QCOW2_USE_COMPRESSED)
			length = cluster - at;
	}
	if (length > UINT64_MAX - claim->offset_bytes)
		length = UINT64_MAX - claim->offset_bytes;
	note_areas(uses, claim, claim->offset_bytes + length);
	note_clusters(uses, claim, claim->offset_bytes + length);
	return 0;
}

int q2_uses_walk(struct q2_uses *uses)
{
	const struct qcow2_claims_options how = {
		.size = sizeof(how),
		.memory_limit_bytes = uses->repair->options->memory_limit_bytes,
	};

	sort_questions(uses);
	return qcow2_claims_walk(uses->repair->image, &how, hear, uses, uses->repair->err);
}

bool q2_uses_contests(const struct q2_uses *uses, uint64_t start)
{
	size_t i = find_area(uses, start);

	return uses->steps > STEPS_MOST || i == uses->area_count || uses->areas[i].start != start ||
	       uses->areas[i].contested;
}

/* The refcount of a cluster as planned; 0 where there is no block for it. */
static int read_refcount(const struct q2_repair *repair, uint64_t offset, uint64_t *refcount)
{
	const struct qcow2_geometry *geometry = repair->geometry;
	uint64_t cluster = offset >> geometry->cluster_bits;
	uint64_t block = cluster / geometry->refcount_block_entries;
	uint64_t bit = cluster % geometry->refcount_block_entries * geometry->refcount_bits;
	uint8_t word[8];

	*refcount = 0;
	if (block >= (uint64_t)repair->header->refcount_table_clusters
			     << (geometry->cluster_bits - 3))
		return 0;
	if (q2_plan_read(repair->plan, repair->header->refcount_table_offset + block * 8, word,
			 sizeof(word), repair->err))
		return -1;
	block = q2_load_be64(word) & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
	if (block == 0)
		return 0;
	if (q2_plan_read(repair->plan, block + bit / 64 * 8, word, sizeof(word), repair->err))
		return -1;
	*refcount = qcow2_refcount_get(word, bit % 64 / geometry->refcount_bits,
				       geometry->refcount_bits);
	return 0;
}

int q2_uses_owned(const struct q2_uses *uses, uint64_t offset, enum q2_owned *owned)
{
	size_t i = find_cluster(uses, offset);
	uint64_t refcount;

	*owned = Q2_OWNED_NOT;
	if (offset == 0 || uses->steps > STEPS_MOST || i == uses->cluster_count ||
	    uses->clusters[i].offset != offset || uses->clusters[i].contested)
		return 0;
	if (read_refcount(uses->repair, offset, &refcount))
		return -1;
	if (refcount > uses->clusters[i].others)
		*owned = Q2_OWNED_SURE;
	else if (uses->clusters[i].others == 0)
		*owned = Q2_OWNED_MAYBE;
	return 0;
}

void q2_uses_release(struct q2_uses *uses)
{
	q2_free(uses->areas);
	q2_free(uses->clusters);
	q2_free(uses->refused);
	*uses = (struct q2_uses){.repair = uses->repair};
}
