/* SPDX-License-Identifier: MIT */
/* See owners.h. */
#include "check/owners.h"

/* The listener of the second walk. */
struct naming {
	struct q2_check *check;
	const struct q2_named *named;
};

/* The part of a virtual disk that a claim maps with its bytes in one cluster. */
static struct q2_guest_range guest_in_cluster(const struct q2_check *check, uint64_t cluster,
					      const struct qcow2_claim *claim)
{
	const struct qcow2_geometry *geometry = check->geometry;

	if (!claim->has_guest ||
	    (claim->part != QCOW2_CLAIM_L1_TABLE && claim->part != QCOW2_CLAIM_L2_TABLE))
		return (struct q2_guest_range){claim->guest_byte, claim->guest_length_bytes};
	return q2_metadata_guest_in(&check->metadata, claim, cluster << geometry->cluster_bits,
				    geometry->cluster_size_bytes);
}

static void add_owner(const struct q2_check *check, struct q2_bad_cluster *item,
		      const struct qcow2_claim *claim)
{
	struct q2_guest_range guest;

	item->owners_total += claim->weight;
	if (item->owner_count == QCOW2_PROBLEM_OWNERS_MAX)
		return;
	guest = guest_in_cluster(check, item->cluster, claim);
	item->owners[item->owner_count++] = (struct q2_bad_owner){
		.part_of_index = claim->part_of_index,
		.index = claim->index,
		.entry = claim->entry,
		.guest = guest,
		.weight = claim->weight,
		.part = claim->part,
		.part_of = claim->part_of,
	};
}

struct qcow2_claim q2_owner_claim(const struct q2_bad_owner *owner)
{
	return (struct qcow2_claim){
		.part = owner->part,
		.part_of = owner->part_of,
		.part_of_index = owner->part_of_index,
		.index = owner->index,
		.entry = owner->entry,
	};
}

/* The first item that is not below a cluster. */
static size_t find(const struct q2_named *named, uint64_t cluster)
{
	size_t low = 0, high = named->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (named->items[middle]->cluster < cluster)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int name_claim(void *opaque, const struct qcow2_claim *claim)
{
	const struct naming *naming = opaque;
	const struct q2_named *named = naming->named;
	unsigned bits = naming->check->geometry->cluster_bits;
	uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);

	if (claim->length_bytes == 0)
		return 0;
	if (last < claim->offset_bytes)
		last = UINT64_MAX;
	/* Most claims are far from the few clusters that are named at once. */
	if (last >> bits < named->items[0]->cluster ||
	    claim->offset_bytes >> bits > named->items[named->count - 1]->cluster)
		return 0;
	for (size_t i = find(named, claim->offset_bytes >> bits); i < named->count; i++) {
		if (named->items[i]->cluster > last >> bits)
			break;
		add_owner(naming->check, named->items[i], claim);
	}
	return 0;
}

static int tell_progress(void *opaque)
{
	const struct naming *naming = opaque;

	return q2_check_progress(naming->check);
}

int q2_owners_find(struct q2_check *check, const struct q2_named *named)
{
	struct naming naming = {check, named};
	unsigned bits = check->geometry->cluster_bits;
	const struct q2_listener listener = {
		.opaque = &naming, .claim = name_claim, .go_on = tell_progress};

	/* The L2 tables are known from the first walk. */
	if (q2_metadata_visit_structures(&check->metadata, &listener) ||
	    q2_metadata_claim_l2_tables(&check->metadata, &listener))
		return -1;
	/* Most entries lead elsewhere. */
	return q2_metadata_claim_l2_entries_near(
		&check->metadata, &listener, named->items[0]->cluster << bits,
		((named->items[named->count - 1]->cluster + 1) << bits) - 1);
}
