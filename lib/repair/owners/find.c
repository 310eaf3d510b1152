/* SPDX-License-Identifier: MIT */
/* Counts references, and lists who uses the clusters that are in conflict. See owners.h. */
#include <stdlib.h>

#include "base/checked.h"
#include "base/search.h"
#include "format/l2_table.h"
#include "repair/owners/owners.h"

/* As the check: a hostile image may claim the same bytes millions of times. */
#define CLAIMS_MOST_BYTES (UINT64_C(4) << 30)

/* An entry of an L2 table, or a structure if bytes is NULL. */
struct source_of_claim {
	const struct q2_l2_ref *ref;
	uint64_t at, word, subclusters;
};

/* The clusters that a claim touches; false if it is none of those that are counted. */
static bool span(const struct q2_parting *owners, const struct qcow2_claim *claim, uint64_t *first,
		 uint64_t *count)
{
	const struct qcow2_geometry *geometry = owners->geometry;
	uint64_t end;

	if (claim->length_bytes == 0 ||
	    q2_add_u64(claim->offset_bytes, claim->length_bytes, &end) ||
	    (end > geometry->file_size_bytes &&
	     end - geometry->file_size_bytes >= geometry->cluster_size_bytes))
		return false;
	*first = claim->offset_bytes >> geometry->cluster_bits;
	*count = ((end - 1) >> geometry->cluster_bits) - *first + 1;
	if (*first >= owners->file_clusters)
		return false;
	if (*count > owners->file_clusters - *first)
		*count = owners->file_clusters - *first;
	return true;
}

static int count_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct q2_parting *owners = opaque;
	uint64_t first, count;

	if (!span(owners, claim, &first, &count))
		return 0;
	if (claim->part != QCOW2_CLAIM_DATA) {
		if (claim->length_bytes > owners->claims_left)
			return 0;
		owners->claims_left -= claim->length_bytes;
	}
	q2_clusters_mark(&owners->clusters, first, count, claim->use, claim->weight);
	return owners->clusters.failed ? q2_memory_fail(&owners->memory, owners->repair->err) : 0;
}

static int by_cluster(const void *left, const void *right)
{
	const struct q2_party *a = left, *b = right;

	if (a->cluster != b->cluster)
		return a->cluster < b->cluster ? -1 : 1;
	if (a->part != b->part)
		return a->part < b->part ? -1 : 1;
	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

/*
 * Makes room: the upper half of the list waits for the next pass. Clusters are kept whole or not at
 * all. A cluster that fills the list alone keeps what there is: those who move make it shorter.
 */
static void drop_upper_half(struct q2_parting *owners)
{
	size_t kept = owners->count / 2;

	qsort(owners->list, owners->count, sizeof(*owners->list), by_cluster);
	while (kept > 0 && owners->list[kept - 1].cluster == owners->list[kept].cluster)
		kept--;
	if (kept == 0) {
		owners->cut_cluster = owners->list[0].cluster + 1;
		kept = owners->count / 2;
	} else {
		owners->cut_cluster = owners->list[kept].cluster;
	}
	owners->count = kept;
}

static int keep(struct q2_parting *owners, const struct q2_party *owner)
{
	if (owners->count == Q2_PARTIES_MOST)
		drop_upper_half(owners);
	if (owner->cluster >= owners->cut_cluster)
		return 0;
	if (owners->count == owners->capacity &&
	    !q2_memory_grow(&owners->memory, (void **)&owners->list, &owners->capacity,
			    sizeof(*owners->list)))
		return q2_memory_fail(&owners->memory, owners->repair->err);
	owners->list[owners->count++] = *owner;
	return 0;
}

/* Where the file says where a structure is; 0 if it is nothing that moves. */
static uint64_t pointer_to(const struct q2_parting *owners, const struct qcow2_claim *claim)
{
	switch (claim->part) {
	case QCOW2_CLAIM_L1_TABLE:
		return claim->part_of == QCOW2_PART_OF_SNAPSHOT
			       ? owners->snapshot_at +
					 offsetof(struct qcow2_snapshot_header, l1_table_offset)
			       : offsetof(struct qcow2_header, l1_table_offset);
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
		return offsetof(struct qcow2_header, snapshot_offset);
	case QCOW2_CLAIM_L2_TABLE:
		return claim->offset_bytes;
	default:
		return 0;
	}
}

/*
 * Whether nobody reads the place of an entry: it reads as zeros, or none of its subclusters is
 * there. Version 2 has no zero flag.
 */
static bool is_unread(const struct q2_parting *owners, uint64_t word, uint64_t subclusters)
{
	const struct qcow2_geometry *geometry = owners->geometry;

	if (geometry->extended_l2)
		return qcow2_l2_subclusters_decode(subclusters).allocated == 0;
	return owners->metadata.header->version >= 3 &&
	       qcow2_l2_classify(word, false, false) == QCOW2_L2_ZERO_ALLOCATED;
}

static bool is_overlap(const struct q2_parting *owners, uint64_t offset_bytes)
{
	return q2_rising_find(q2_rising_numbers(owners->overlaps, owners->overlap_count),
			      offset_bytes) != NULL;
}

static bool is_wanted(const struct q2_parting *owners, uint64_t cluster)
{
	const struct q2_cluster_state state = q2_clusters_get(&owners->clusters, cluster);

	return (state.flags & Q2_SEEN_CONFLICT) != 0 ||
	       state.count > q2_parting_refcount_most(owners);
}

static struct q2_party owner_of(const struct q2_parting *owners, const struct qcow2_claim *claim,
				const struct source_of_claim *from)
{
	const struct qcow2_geometry *geometry = owners->geometry;
	struct q2_party owner = {
		.offset_bytes = claim->offset_bytes,
		.length_bytes = claim->length_bytes,
		.at = from ? from->at : pointer_to(owners, claim),
		.word = from ? from->word : 0,
		.weight = claim->weight,
		.index = claim->index,
		.entry = claim->entry,
		.part_of_index = claim->part_of_index,
		.guest = {claim->guest_byte, claim->has_guest ? claim->guest_length_bytes : 0},
		.part = claim->part,
		.part_of = claim->part_of,
		.use = claim->use,
		.faulty = claim->use != QCOW2_USE_COMPRESSED &&
			  claim->offset_bytes % geometry->cluster_size_bytes != 0,
		.keeper = SIZE_MAX,
	};

	if (from && claim->use == QCOW2_USE_COMPRESSED)
		owner.overlaps = is_overlap(owners, claim->offset_bytes);
	else if (from)
		owner.unread = is_unread(owners, from->word, from->subclusters);
	return owner;
}

static int list_claim(struct q2_parting *owners, const struct qcow2_claim *claim,
		      const struct source_of_claim *from)
{
	struct q2_party owner;
	uint64_t first, count;
	bool known = false;

	if (!span(owners, claim, &first, &count))
		return 0;
	for (uint64_t i = 0; i < count && first + i < owners->cut_cluster; i++) {
		bool wanted = is_wanted(owners, first + i);

		if (!wanted && (i > 0 || owners->overlap_count == 0))
			continue;
		if (!known)
			owner = owner_of(owners, claim, from);
		known = true;
		owner.cluster = first + i;
		if ((wanted || owner.overlaps) && keep(owners, &owner))
			return -1;
	}
	return 0;
}

static int list_structure(void *opaque, const struct qcow2_claim *claim)
{
	return list_claim(opaque, claim, NULL);
}

static int note_snapshot(void *opaque, const struct qcow2_snapshot *snapshot)
{
	struct q2_parting *owners = opaque;

	owners->snapshot_at = snapshot->offset_bytes;
	return 0;
}

static int visit_table(struct q2_parting *owners, const struct q2_l2_ref *ref, bool listed)
{
	struct q2_metadata *metadata = &owners->metadata;
	const struct qcow2_geometry *geometry = owners->geometry;
	const uint64_t disk_bytes = q2_metadata_disk(metadata, ref->list).size_bytes;
	struct source_of_claim from = {.ref = ref};
	struct qcow2_claim claim;
	uint64_t size;

	if (q2_metadata_l2_is_hole(metadata, ref))
		return 0;
	if (q2_metadata_read_l2(metadata, ref->offset_bytes, &size))
		return -1;
	for (uint64_t i = 0; (i + 1) * geometry->l2_entry_bytes <= size; i++) {
		from.word = q2_l2_entry_at(metadata->buffer, i, geometry->l2_entry_bytes);
		if (from.word == 0 || !q2_l2_claim(geometry, ref, from.word, &claim))
			continue;
		from.at = ref->offset_bytes + i * geometry->l2_entry_bytes;
		from.subclusters =
			q2_l2_subclusters_at(metadata->buffer, i, geometry->l2_entry_bytes);
		if (listed)
			q2_l2_claim_name(geometry, ref, disk_bytes, i, &claim);
		if (listed ? list_claim(owners, &claim, &from) : count_claim(owners, &claim))
			return -1;
	}
	return 0;
}

static int visit_tables(struct q2_parting *owners, bool listed)
{
	for (size_t i = 0; i < owners->metadata.table_count && !owners->geometry->data_file; i++)
		if (visit_table(owners, &owners->metadata.tables[i], listed))
			return -1;
	return 0;
}

int q2_parting_find(struct q2_parting *owners)
{
	struct q2_metadata *metadata = &owners->metadata;
	const struct q2_listener counter = {.opaque = owners, .claim = count_claim};
	const struct q2_listener lister = {
		.opaque = owners, .claim = list_structure, .snapshot = note_snapshot};

	owners->claims_left = CLAIMS_MOST_BYTES;
	owners->cut_cluster = UINT64_MAX;
	if (q2_metadata_visit_structures(metadata, &counter) ||
	    q2_metadata_follow_l1(metadata, &counter) ||
	    q2_metadata_claim_l2_tables(metadata, &counter) || visit_tables(owners, false))
		return -1;
	if (q2_metadata_visit_structures(metadata, &lister) ||
	    q2_metadata_claim_l2_tables(metadata, &lister) || visit_tables(owners, true))
		return -1;
	if (owners->count > 1)
		qsort(owners->list, owners->count, sizeof(*owners->list), by_cluster);
	return 0;
}
