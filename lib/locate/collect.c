/* SPDX-License-Identifier: MIT */
/* Listens to the claims, and keeps those that touch the window. */
#include "locate/owners.h"

#include <stdlib.h>

#include "base/error.h"

/* Keeps a claim in one of the two lists. */
static int keep(struct q2_owners *owners, bool wide, const struct q2_kept *kept)
{
	struct q2_kept **list = wide ? &owners->wide : &owners->kept;
	size_t *count = wide ? &owners->wide_count : &owners->kept_count;
	size_t *capacity = wide ? &owners->wide_capacity : &owners->kept_capacity;

	if (*count == *capacity &&
	    !q2_memory_grow(&owners->memory, (void **)list, capacity, sizeof(**list)))
		return q2_memory_fail(&owners->memory, owners->metadata.err);
	(*list)[(*count)++] = *kept;
	return 0;
}

/* Counts a reference to a cluster. Returns whether there is room for it. */
static bool count(const struct q2_owners *owners, const struct q2_kept *kept,
		  struct q2_counted *counted)
{
	if (kept->unclaimed) {
		counted->neighbours += kept->claim.weight;
		return counted->kept_neighbours < Q2_NEIGHBOURS_MOST;
	}
	counted->total += kept->claim.weight;
	return counted->kept < owners->of_one_most;
}

/* A claim of few clusters, which touches those from `from` to `to` of the window. */
static int hear_narrow(struct q2_owners *owners, uint64_t from, uint64_t to,
		       const struct q2_kept *kept)
{
	bool room = false;

	for (uint64_t i = from; i <= to; i++)
		room |= count(owners, kept, &owners->counted[i]);
	if (!room)
		return 0;
	for (uint64_t i = from; i <= to; i++)
		(*(kept->unclaimed ? &owners->counted[i].kept_neighbours
				   : &owners->counted[i].kept))++;
	return keep(owners, false, kept);
}

static int hear_wide(struct q2_owners *owners, const struct q2_kept *kept)
{
	if (owners->wide_count < Q2_WIDE_KEPT)
		return keep(owners, true, kept);
	owners->wide_omitted += kept->unclaimed ? 0 : kept->claim.weight;
	return 0;
}

/* Whether a claim touches the window. Then it says whether it touches no byte of the range. */
static bool touches(const struct q2_owners *owners, const struct qcow2_claim *claim,
		    bool *unclaimed)
{
	const unsigned bits = owners->metadata.geometry->cluster_bits;
	uint64_t last;

	if (claim->length_bytes == 0)
		return false;
	last = q2_claim_last(claim);
	if (last >> bits < owners->first ||
	    claim->offset_bytes >> bits >= owners->first + owners->count)
		return false;
	*unclaimed = last < owners->start || claim->offset_bytes > owners->last;
	return true;
}

static int hear(void *opaque, const struct qcow2_claim *claim)
{
	struct q2_owners *owners = opaque;
	const unsigned bits = owners->metadata.geometry->cluster_bits;
	const uint64_t window_last = owners->first + owners->count - 1;
	struct q2_kept kept;
	uint64_t from, to;
	bool unclaimed;

	if (!touches(owners, claim, &unclaimed))
		return 0;
	kept = (struct q2_kept){.claim = *claim, .order = owners->heard++, .unclaimed = unclaimed};
	kept.claim.size = sizeof(kept.claim);
	if (claim->part == QCOW2_CLAIM_L2_TABLE)
		kept.l2_table = claim->offset_bytes;
	from = claim->offset_bytes >> bits;
	to = q2_claim_last(claim) >> bits;
	if (to - from >= Q2_WIDE_CLUSTERS)
		return hear_wide(owners, &kept);
	from = from < owners->first ? 0 : from - owners->first;
	to = (to > window_last ? window_last : to) - owners->first;
	return hear_narrow(owners, from, to, &kept);
}

/*
 * Data does not say where its L2 table is: the tables are in the order in which their data is told,
 * and each (list, index) is the name of one.
 */
static void name_tables(struct q2_owners *owners)
{
	const struct q2_metadata *metadata = &owners->metadata;
	size_t table = 0;

	for (size_t i = 0; i < owners->kept_count; i++) {
		struct q2_kept *kept = &owners->kept[i];
		uint64_t list = q2_claim_list(&kept->claim);

		if (kept->claim.part != QCOW2_CLAIM_DATA)
			continue;
		while (table < metadata->table_count &&
		       (metadata->tables[table].list != list ||
			metadata->tables[table].index != kept->claim.index))
			table++;
		if (table < metadata->table_count)
			kept->l2_table = metadata->tables[table].offset_bytes;
	}
}

static int by_place(const void *left, const void *right)
{
	const struct q2_kept *a = left, *b = right;

	if (a->claim.offset_bytes != b->claim.offset_bytes)
		return a->claim.offset_bytes < b->claim.offset_bytes ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static int run_stages(struct q2_owners *owners)
{
	const unsigned bits = owners->metadata.geometry->cluster_bits;
	const uint64_t last = owners->first + owners->count - 1;
	const struct q2_listener listener = {.opaque = owners, .claim = hear};
	struct q2_metadata *metadata = &owners->metadata;

	if (q2_metadata_visit_structures(metadata, &listener) ||
	    q2_metadata_follow_l1(metadata, &listener) ||
	    q2_metadata_claim_l2_tables(metadata, &listener))
		return -1;
	return q2_metadata_claim_l2_entries_near(metadata, &listener, owners->first << bits,
						 (last << bits) + ((UINT64_C(1) << bits) - 1));
}

int q2_owners_gather(struct q2_owners *owners, struct qcow2_error *err)
{
	const uint64_t buffer_bytes =
		Q2_PIECE_BYTES + owners->metadata.geometry->cluster_size_bytes;
	int result = -1;

	owners->metadata.err = err;
	owners->of_one_most = Q2_OWNERS_KEPT / owners->count;
	if (owners->of_one_most > Q2_OWNERS_OF_ONE_MOST)
		owners->of_one_most = Q2_OWNERS_OF_ONE_MOST;
	owners->counted = q2_memory_get(&owners->memory, owners->count, sizeof(*owners->counted));
	owners->metadata.buffer = q2_memory_get(&owners->memory, buffer_bytes, 1);
	if (!owners->counted || !owners->metadata.buffer) {
		q2_memory_fail(&owners->memory, err);
	} else if (run_stages(owners) == 0) {
		name_tables(owners);
		result = q2_owners_find_sharers(owners);
	}
	q2_memory_put(&owners->memory, owners->metadata.buffer, buffer_bytes, 1);
	owners->metadata.buffer = NULL;
	if (result == 0 && owners->kept_count > 1)
		qsort(owners->kept, owners->kept_count, sizeof(*owners->kept), by_place);
	return result;
}

void q2_owners_release(struct q2_owners *owners)
{
	struct q2_memory *memory = &owners->memory;

	q2_metadata_release(&owners->metadata);
	q2_memory_put(memory, owners->kept, owners->kept_capacity, sizeof(*owners->kept));
	q2_memory_put(memory, owners->wide, owners->wide_capacity, sizeof(*owners->wide));
	q2_memory_put(memory, owners->sharers, owners->sharer_capacity, sizeof(*owners->sharers));
	q2_memory_put(memory, owners->counted, owners->count, sizeof(*owners->counted));
}
