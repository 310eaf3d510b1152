/* SPDX-License-Identifier: MIT */
/* See tell.h. */
#include "locate/tell.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* ---- picking ---- */

static int add(struct q2_owner_list *list, const struct q2_kept *kept, struct qcow2_error *err)
{
	if (list->count == list->capacity) {
		size_t more = list->capacity ? list->capacity * 2 : 16;
		void *grown = q2_realloc_array(list->items, more, sizeof(*list->items));

		if (!grown)
			return q2_fail_memory(err);
		list->items = grown;
		list->capacity = more;
	}
	list->items[list->count++] = kept;
	return 0;
}

static bool touches(const struct q2_kept *kept, uint64_t first, uint64_t last)
{
	return kept->claim.offset_bytes <= last && q2_claim_last(&kept->claim) >= first;
}

/* The first kept claim of few clusters that may reach a cluster: they are sorted by their starts. */
static size_t first_near(const struct q2_owners *owners, uint64_t cluster)
{
	const unsigned bits = owners->metadata.geometry->cluster_bits;
	const uint64_t near = cluster < Q2_WIDE_CLUSTERS ? 0 : cluster - Q2_WIDE_CLUSTERS;
	size_t low = 0, high = owners->kept_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (owners->kept[middle].claim.offset_bytes >> bits < near)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Adds a claim that touches the cluster of [first, last], if it touches these bytes. */
static int pick(struct q2_owner_list *list, const struct q2_kept *kept, uint64_t first,
		uint64_t last, struct qcow2_error *err)
{
	if (!touches(kept, first, last))
		return 0;
	list->total += kept->claim.weight;
	return add(list, kept, err);
}

/* Adds all that is kept and touches [first, last], bytes of one cluster. */
static int pick_all(const struct q2_owners *owners, struct q2_owner_list *list, uint64_t first,
		    uint64_t last, struct qcow2_error *err)
{
	const uint64_t cluster = first >> owners->metadata.geometry->cluster_bits;

	for (size_t i = 0; i < owners->wide_count; i++)
		if (pick(list, &owners->wide[i], first, last, err))
			return -1;
	for (size_t i = first_near(owners, cluster);
	     i < owners->kept_count && owners->kept[i].claim.offset_bytes <= last; i++)
		if (pick(list, &owners->kept[i], first, last, err))
			return -1;
	return 0;
}

/* References that are not kept are not known to touch these bytes, but they may. */
static void count_omitted(const struct q2_owners *owners, uint64_t first,
			  struct q2_owner_list *list)
{
	const unsigned bits = owners->metadata.geometry->cluster_bits;
	const struct q2_counted *counted = &owners->counted[(first >> bits) - owners->first];
	const bool full = list->unclaimed ? counted->kept_neighbours >= Q2_NEIGHBOURS_MOST
					  : counted->kept >= owners->of_one_most;
	const uint64_t total = list->unclaimed ? counted->neighbours : counted->total;

	if (full && total > list->total)
		list->total = total;
	list->total += list->unclaimed ? 0 : owners->wide_omitted;
}

int q2_owner_list_fill(struct q2_owners *owners, uint64_t first, uint64_t last,
		       struct q2_owner_list *list, struct qcow2_error *err)
{
	const uint64_t cluster_bytes = owners->metadata.geometry->cluster_size_bytes;
	const uint64_t start = first & ~(cluster_bytes - 1);

	list->count = 0;
	list->total = 0;
	list->unclaimed = false;
	if (start / cluster_bytes - owners->first >= owners->count)
		return 0;
	if (pick_all(owners, list, first, last, err))
		return -1;
	if (list->count == 0) {
		if (pick_all(owners, list, start, start + (cluster_bytes - 1), err))
			return -1;
		list->unclaimed = list->count > 0;
	}
	count_omitted(owners, first, list);
	return 0;
}

void q2_owner_list_release(struct q2_owner_list *list)
{
	q2_free(list->items);
	*list = (struct q2_owner_list){0};
}

bool q2_owner_list_same(const struct q2_owner_list *a, const struct q2_owner_list *b)
{
	return a->count == b->count && a->total == b->total && a->unclaimed == b->unclaimed &&
	       (a->count == 0 || memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0);
}

/* ---- telling ---- */

/* Room for one more claim; NULL with *err filled. Pointers are set at the end. */
static struct qcow2_claim *make_room(struct q2_told_claims *told, struct qcow2_error *err)
{
	if (told->count == told->capacity) {
		size_t more = told->capacity ? told->capacity * 2 : 16;
		void *grown = q2_realloc_array(told->claims, more, sizeof(*told->claims));

		if (!grown) {
			q2_fail_memory(err);
			return NULL;
		}
		told->claims = grown;
		told->capacity = more;
	}
	return &told->claims[told->count++];
}

/* The part of a disk that the claim's bytes in the piece map. */
static struct q2_guest_range guest_of(const struct q2_owners *owners,
				      const struct qcow2_claim *claim,
				      const struct qcow2_piece *piece)
{
	const struct qcow2_geometry *geometry = owners->metadata.geometry;

	if (claim->part != QCOW2_CLAIM_DATA)
		return q2_metadata_guest_in(&owners->metadata, claim, piece->start.byte,
					    piece->length_bytes);
	return q2_guest_clusters(
		geometry, q2_metadata_disk(&owners->metadata, q2_claim_list(claim)).size_bytes,
		claim->index * geometry->l2_entries + claim->entry, 1);
}

/* Tells one reference: the claim itself, or that of an L1 entry that shares its L2 table. */
static int tell(const struct q2_owners *owners, const struct q2_kept *kept,
		const struct q2_sharer *sharer, const struct qcow2_piece *piece,
		struct q2_told_claims *told, struct qcow2_error *err)
{
	struct qcow2_claim *claim = make_room(told, err);

	if (!claim)
		return -1;
	*claim = kept->claim;
	claim->weight = 1;
	if (sharer) {
		q2_claim_set_list(claim, sharer->list);
		claim->index = sharer->index;
	}
	if (claim->part == QCOW2_CLAIM_L1_TABLE || claim->part == QCOW2_CLAIM_L2_TABLE ||
	    claim->part == QCOW2_CLAIM_DATA)
		q2_claim_set_guest(claim, piece->unclaimed ? (struct q2_guest_range){0}
							   : guest_of(owners, claim, piece));
	return 0;
}

static int tell_all(struct q2_owners *owners, const struct q2_owner_list *list,
		    const struct qcow2_piece *piece, struct q2_told_claims *told,
		    struct qcow2_error *err)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct q2_kept *kept = list->items[i];
		size_t first = 0, count = 0;

		if (kept->l2_table != 0)
			count = q2_owners_sharers(owners, kept->l2_table, &first);
		if (told->count >= owners->of_one_most)
			return 0;
		if (count == 0 && tell(owners, kept, NULL, piece, told, err))
			return -1;
		for (size_t j = 0; j < count && told->count < owners->of_one_most; j++)
			if (tell(owners, kept, &owners->sharers[first + j], piece, told, err))
				return -1;
	}
	return 0;
}

/* By their places, then the active image, snapshots and bitmaps, each by their indexes. */
static int by_place(const void *left, const void *right)
{
	const struct qcow2_claim *a = *(struct qcow2_claim *const *)left;
	const struct qcow2_claim *b = *(struct qcow2_claim *const *)right;
	const uint64_t keys[][2] = {{a->offset_bytes, b->offset_bytes},
				    {a->part_of, b->part_of},
				    {a->part_of_index, b->part_of_index},
				    {a->part, b->part},
				    {a->index, b->index},
				    {a->entry, b->entry}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

int q2_told_claims_make(struct q2_owners *owners, const struct q2_owner_list *list,
			const struct qcow2_piece *piece, struct q2_told_claims *told,
			struct qcow2_error *err)
{
	void *grown;

	told->count = 0;
	if (tell_all(owners, list, piece, told, err))
		return -1;
	grown = q2_realloc_array(told->pointers, told->count + 1, sizeof(*told->pointers));
	if (!grown)
		return q2_fail_memory(err);
	told->pointers = grown;
	for (size_t i = 0; i < told->count; i++)
		told->pointers[i] = &told->claims[i];
	if (told->count > 1)
		qsort(told->pointers, told->count, sizeof(*told->pointers), by_place);
	return 0;
}

void q2_told_claims_release(struct q2_told_claims *told)
{
	q2_free(told->claims);
	q2_free(told->pointers);
	*told = (struct q2_told_claims){0};
}
