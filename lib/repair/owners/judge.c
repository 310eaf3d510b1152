/* SPDX-License-Identifier: MIT */
/*
 * Decides who of the users of a cluster keeps it. As those who move take the bytes along, this is
 * never a question of whose data survives, but of which pointer is easier to change, so that no
 * look at the bytes is needed. See owners.h.
 */
#include <stdlib.h>

#include "repair/owners/owners.h"

/* Passes and rounds in which a place that is new may turn out to be in use. */
#define FEW_PASSES 8
#define FEW_ROUNDS 4
/* L1 tables of snapshots that are looked at. */
#define LONG_L1S_MOST 256

/* The users of one cluster: list[first, end). */
struct group {
	struct q2_parting *owners;
	size_t first, end;
	size_t keeper; /* SIZE_MAX: none */
};

/*
 * Others see to bitmaps, which become dirty: that something else uses their place is the evidence
 * that they cannot be believed, and must not be taken away.
 */
static bool is_of_bitmap(const struct q2_party *party)
{
	switch (party->part) {
	case QCOW2_CLAIM_BITMAP_DIRECTORY:
	case QCOW2_CLAIM_BITMAP_TABLE:
	case QCOW2_CLAIM_BITMAP_DATA:
		return true;
	default:
		return false;
	}
}

/* Whether the repair made it: then it is where it has to be, and what else leads there is wrong. */
static bool is_new(const struct q2_parting *owners, const struct q2_party *party)
{
	return party->offset_bytes >= owners->repair->plan->old_size_bytes;
}

/*
 * The higher one keeps the place. Refcounts stay where they are, although they could be built anew
 * elsewhere: that is done last, and until then nobody could write to the table that lies on them.
 */
static unsigned rank(const struct q2_parting *owners, const struct q2_party *party)
{
	const bool fixed = q2_parting_data_is_fixed(owners);

	switch (party->part) {
	case QCOW2_CLAIM_HEADER:
		return 10;
	case QCOW2_CLAIM_LUKS:
		return 9;
	case QCOW2_CLAIM_REFCOUNT_TABLE:
	case QCOW2_CLAIM_REFCOUNT_BLOCK:
		return 7;
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
		return 6;
	case QCOW2_CLAIM_L1_TABLE:
		return party->part_of == QCOW2_PART_OF_IMAGE ? 5 : 4;
	case QCOW2_CLAIM_L2_TABLE:
		return 3;
	case QCOW2_CLAIM_DATA:
		return party->use == QCOW2_USE_COMPRESSED ? 2 : fixed ? 8 : 1;
	default:
		return is_new(owners, party) ? 8 : 0;
	}
}

static enum q2_party_level level_of(const struct q2_parting *owners, const struct q2_party *party)
{
	switch (party->part) {
	case QCOW2_CLAIM_DATA:
		return q2_parting_data_is_fixed(owners) && !party->unread ? Q2_PARTY_STAYS
									  : Q2_PARTY_DATA;
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
		return Q2_PARTY_STRUCTURE;
	case QCOW2_CLAIM_L1_TABLE:
		return party->part_of == QCOW2_PART_OF_IMAGE ? Q2_PARTY_STRUCTURE
							     : Q2_PARTY_SNAPSHOT_L1;
	case QCOW2_CLAIM_L2_TABLE:
		return Q2_PARTY_L2;
	default:
		return Q2_PARTY_STAYS;
	}
}

/* Says why a group cannot be parted here, if it is not. Said only if the image still has it then. */
static void note_reasons(const struct group *group)
{
	struct q2_repair *repair = group->owners->repair;

	for (size_t i = group->first; i < group->end; i++) {
		const struct q2_party *party = &group->owners->list[i];

		if (is_of_bitmap(party))
			q2_repair_leave(repair, QCOW2_PROBLEM_CLUSTER_OWNERS,
					"a bitmap uses the same place: it has to be mended first");
		else if (party->faulty)
			q2_repair_leave(repair, QCOW2_PROBLEM_CLUSTER_OWNERS,
					"an entry that is broken itself leads there: it has to be "
					"mended first");
		else if (party->part == QCOW2_CLAIM_DATA && q2_parting_data_is_fixed(group->owners))
			q2_repair_leave(repair, QCOW2_PROBLEM_CLUSTER_OWNERS,
					"the data is encrypted by its place in the file, and "
					"cannot be moved without the key");
	}
}

/*
 * Whether a place behind the old end of the file was used twice for longer than a broken entry that
 * led there would explain: then the word which leads there leads something else there as well, and
 * moving it again would go on for ever.
 */
static bool is_loop(const struct q2_parting *owners, const struct q2_party *party)
{
	return party->offset_bytes >= owners->repair->plan->old_size_bytes &&
	       (owners->pass >= FEW_PASSES || owners->repair->round >= FEW_ROUNDS);
}

static bool takes_part(const struct q2_parting *owners, const struct q2_party *party)
{
	return !party->faulty && (!is_of_bitmap(party) || is_new(owners, party));
}

/* Guest data may share a cluster, and compressed clusters may. */
static bool may_share(const struct q2_party *a, const struct q2_party *b)
{
	return a->part == QCOW2_CLAIM_DATA && b->part == QCOW2_CLAIM_DATA &&
	       (a->use == QCOW2_USE_COMPRESSED) == (b->use == QCOW2_USE_COMPRESSED);
}

static bool choose_keeper(struct group *group)
{
	const struct q2_parting *owners = group->owners;

	group->keeper = SIZE_MAX;
	for (size_t i = group->first; i < group->end; i++) {
		const struct q2_party *party = &owners->list[i];

		if (takes_part(owners, party) && !party->unread &&
		    (group->keeper == SIZE_MAX ||
		     rank(owners, party) > rank(owners, &owners->list[group->keeper])))
			group->keeper = i;
	}
	return group->keeper != SIZE_MAX;
}

static bool is_conflict(const struct group *group)
{
	const struct q2_party *list = group->owners->list;

	for (size_t i = group->first + 1; i < group->end; i++)
		if (!may_share(&list[group->first], &list[i]))
			return true;
	return false;
}

/* Whoever may not share the cluster with its keeper moves. What nobody reads always goes. */
static void judge_conflict(struct group *group)
{
	struct q2_parting *owners = group->owners;
	bool kept = choose_keeper(group);

	note_reasons(group);
	for (size_t i = group->first; i < group->end; i++) {
		struct q2_party *party = &owners->list[i];

		party->id = QCOW2_PROBLEM_CLUSTER_OWNERS;
		party->keeper = group->keeper;
		if (is_loop(owners, party))
			q2_repair_leave(owners->repair, party->id,
					"what leads there is a part of two structures at once");
		else if (takes_part(owners, party) && i != group->keeper &&
			 (party->unread ||
			  (kept && !may_share(&owners->list[group->keeper], party))))
			party->level = level_of(owners, party);
	}
}

/* Those for whom the refcount has no room move. What leads to an L2 table moves as a whole. */
static void judge_overflow(const struct group *group)
{
	struct q2_parting *owners = group->owners;
	uint64_t room = q2_parting_refcount_most(owners);

	for (size_t i = group->first; i < group->end; i++) {
		struct q2_party *party = &owners->list[i];

		party->id = QCOW2_PROBLEM_REFCOUNT_OVERFLOW;
		if (party->weight <= room)
			room -= party->weight;
		else if (takes_part(owners, party))
			party->level = level_of(owners, party);
		if (party->level == Q2_PARTY_STAYS && q2_parting_data_is_fixed(owners))
			q2_repair_leave(owners->repair, QCOW2_PROBLEM_REFCOUNT_OVERFLOW,
					"the data is encrypted by its place in the file, and "
					"cannot be copied without the key");
	}
}

static void judge_group(struct group *group)
{
	struct q2_parting *owners = group->owners;
	const struct q2_cluster_state state =
		q2_clusters_get(&owners->clusters, owners->list[group->first].cluster);

	if (is_conflict(group)) {
		if (owners->owners_wanted)
			judge_conflict(group);
	} else if (state.count > q2_parting_refcount_most(owners) && owners->overflows_wanted) {
		judge_overflow(group);
	}
	for (size_t i = group->first; i < group->end; i++) {
		struct q2_party *party = &owners->list[i];

		if (party->overlaps && party->level == Q2_PARTY_STAYS) {
			party->id = QCOW2_PROBLEM_COMPRESSED_OVERLAP;
			party->level = Q2_PARTY_DATA;
		}
	}
}

static int by_place(const void *left, const void *right)
{
	const struct q2_party *a = *(struct q2_party *const *)left;
	const struct q2_party *b = *(struct q2_party *const *)right;

	if (a->offset_bytes != b->offset_bytes)
		return a->offset_bytes < b->offset_bytes ? -1 : 1;
	if (a->length_bytes != b->length_bytes)
		return a->length_bytes < b->length_bytes ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

/* The lowest level at which somebody moves. */
static enum q2_party_level lowest_level(const struct q2_parting *owners)
{
	enum q2_party_level lowest = Q2_PARTY_STAYS;

	for (size_t i = 0; i < owners->count; i++) {
		enum q2_party_level level = owners->list[i].level;

		if (level != Q2_PARTY_STAYS && (lowest == Q2_PARTY_STAYS || level < lowest))
			lowest = level;
	}
	return lowest;
}

static int list_movers(struct q2_parting *owners)
{
	enum q2_party_level level = lowest_level(owners);
	size_t kept = 0;

	if (level == Q2_PARTY_STAYS)
		return 0;
	owners->movers = q2_memory_get(&owners->memory, owners->count, sizeof(struct q2_party *));
	if (!owners->movers)
		return q2_memory_fail(&owners->memory, owners->repair->err);
	for (size_t i = 0; i < owners->count; i++)
		if (owners->list[i].level == level)
			owners->movers[owners->mover_count++] = &owners->list[i];
	qsort(owners->movers, owners->mover_count, sizeof(struct q2_party *), by_place);
	for (size_t i = 1; i < owners->mover_count; i++)
		if (owners->movers[i]->at != owners->movers[kept]->at)
			owners->movers[++kept] = owners->movers[i];
	owners->mover_count = kept + 1;
	return 0;
}

/* The first user of a cluster in the list, or the end of the list. */
static size_t find_cluster(const struct q2_parting *owners, uint64_t cluster)
{
	size_t low = 0, high = owners->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (owners->list[middle].cluster < cluster)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool note_shared(const struct q2_parting *owners, const struct q2_party *mover)
{
	q2_repair_leave(owners->repair, mover->id,
			"what leads there is a part of two structures at once");
	return true;
}

/* Whether a place is in an L1 table that passes the end of the file. */
static bool is_in_long_l1(const struct q2_parting *owners, uint64_t start, uint64_t entries,
			  uint64_t at)
{
	const uint64_t size = owners->geometry->file_size_bytes;

	return start <= at && start < size && entries > (size - start) / 8 + 1;
}

/*
 * Whether a word of some structure is also one of an L1 table that passes the end of the file. Such
 * a table claims no clusters, but the entries that the file has of it are followed.
 */
static bool is_under_long_l1(const struct q2_parting *owners, uint64_t at)
{
	const struct q2_metadata *metadata = &owners->metadata;
	const uint64_t cluster = at >> owners->geometry->cluster_bits;

	if (q2_clusters_get(&owners->clusters, cluster).use < QCOW2_USE_METADATA)
		return false;
	if (is_in_long_l1(owners, metadata->header->l1_table_offset, metadata->header->l1_size, at))
		return true;
	for (size_t i = 0; i < metadata->l1_count && i < LONG_L1S_MOST; i++)
		if (is_in_long_l1(owners, metadata->l1s[i].offset_bytes, metadata->l1s[i].entries,
				  at))
			return true;
	return false;
}

bool q2_parting_is_word_shared(const struct q2_parting *owners, uint64_t at,
			       const struct q2_party *mover)
{
	const uint64_t cluster = at >> owners->geometry->cluster_bits;
	const struct q2_party *one = NULL;

	/* Whatever leads to the header cannot change what the header says. */
	if (cluster == 0)
		return false;
	if (is_under_long_l1(owners, at))
		return note_shared(owners, mover);
	for (size_t i = find_cluster(owners, cluster); i < owners->count; i++) {
		const struct q2_party *party = &owners->list[i];

		if (party->cluster != cluster)
			break;
		/* Those that move in the same pass take the word along. */
		if (party->part == QCOW2_CLAIM_DATA || party->level == mover->level ||
		    at < party->offset_bytes || at - party->offset_bytes >= party->length_bytes)
			continue;
		if (one && (one->part != party->part || one->offset_bytes != party->offset_bytes))
			return note_shared(owners, mover);
		one = party;
	}
	return false;
}

int q2_parting_judge(struct q2_parting *owners)
{
	struct group group = {.owners = owners};

	for (; group.first < owners->count; group.first = group.end) {
		const uint64_t cluster = owners->list[group.first].cluster;

		group.end = group.first + 1;
		while (group.end < owners->count && owners->list[group.end].cluster == cluster)
			group.end++;
		judge_group(&group);
	}
	return list_movers(owners);
}
