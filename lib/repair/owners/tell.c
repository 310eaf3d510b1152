/* SPDX-License-Identifier: MIT */
/* Tells who moves, who keeps the place, and what guests read. See owners.h. */
#include <inttypes.h>
#include <stdio.h>

#include "format/l2_table.h"
#include "repair/owners/owners.h"

/* A step that is not told yet, as neighbours may join it. */
struct telling {
	struct q2_parting *owners;
	struct qcow2_repair_step step;
	const struct q2_party *party; /* the last one */
	char does[QCOW2_OWNER_WHERE_MAX + 160];
	size_t keeper;
};

static struct qcow2_claim claim_of(const struct q2_party *party)
{
	return (struct qcow2_claim){
		.part = party->part,
		.part_of = party->part_of,
		.part_of_index = party->part_of_index,
		.index = party->index,
		.entry = party->entry,
		.use = party->use,
	};
}

/*
 * Whether a cluster reads as a table of offsets: then what a guest reads there is none of its data.
 * 0 or 1, or -1 with repair->err filled.
 */
static int is_table(struct q2_parting *owners, const struct q2_party *keeper, uint64_t cluster)
{
	const struct qcow2_geometry *geometry = owners->geometry;
	const unsigned step = keeper->part == QCOW2_CLAIM_L2_TABLE ? geometry->l2_entry_bytes : 8;
	uint8_t *bytes = owners->metadata.buffer;
	const uint64_t size = qcow2_plan_size_bytes(owners->repair->plan); /* with copies */
	bool used = false;

	if (q2_plan_read(owners->repair->plan, cluster << geometry->cluster_bits, bytes,
			 (size_t)geometry->cluster_size_bytes, owners->repair->err))
		return -1;
	for (uint64_t at = 0; at < geometry->cluster_size_bytes; at += step) {
		uint64_t word = q2_l2_entry_at(bytes + at, 0, 8);
		uint64_t offset = word & QCOW2_ENTRY_MASK(l2_entry, offset);

		if (word == 0)
			continue;
		used = true;
		if (qcow2_l2_is_compressed(word) && keeper->part == QCOW2_CLAIM_L2_TABLE)
			offset = qcow2_compressed_split(word, geometry->cluster_bits).offset_bytes;
		else if ((word & qcow2_l2_entry_reserved) || offset % geometry->cluster_size_bytes)
			return 0;
		if (offset >= size)
			return 0;
	}
	return used;
}

/* Whether a guest that uses the place of a keeper reads what is not its own. As is_table(). */
static int is_foreign(struct q2_parting *owners, const struct q2_party *party)
{
	const struct q2_party *keeper;

	if (party->keeper == SIZE_MAX || party->part != QCOW2_CLAIM_DATA)
		return 0;
	keeper = &owners->list[party->keeper];
	switch (keeper->part) {
	case QCOW2_CLAIM_HEADER:
	case QCOW2_CLAIM_LUKS:
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
		return 1; /* they were read as such */
	case QCOW2_CLAIM_L1_TABLE:
	case QCOW2_CLAIM_L2_TABLE:
		return is_table(owners, keeper, party->cluster);
	default:
		return 0;
	}
}

/* Says what is done, and who keeps the place. */
static void say(struct telling *t, const struct q2_party *party)
{
	char where[QCOW2_CLAIM_WHERE_MAX], guest[64] = "";
	const struct q2_party *keeper;
	struct qcow2_claim claim;

	if (party->id == QCOW2_PROBLEM_REFCOUNT_OVERFLOW) {
		snprintf(
			t->does, sizeof(t->does),
			"copied to free space, as refcounts of %u bits cannot count all who use it",
			t->owners->geometry->refcount_bits);
		return;
	}
	if (party->id == QCOW2_PROBLEM_COMPRESSED_OVERLAP) {
		snprintf(t->does, sizeof(t->does),
			 "copied to free space, apart from the compressed cluster before it");
		return;
	}
	if (party->keeper == SIZE_MAX) {
		snprintf(t->does, sizeof(t->does), "gives up a place that nothing is read from");
		return;
	}
	keeper = &t->owners->list[party->keeper];
	claim = claim_of(keeper);
	if (keeper->guest.length_bytes > 0)
		snprintf(guest, sizeof(guest), " (guest 0x%" PRIx64 "..0x%" PRIx64 ")",
			 keeper->guest.byte, keeper->guest.byte + keeper->guest.length_bytes - 1);
	snprintf(t->does, sizeof(t->does), "%s: %s%s keeps the place",
		 party->unread ? "gives up a place that nothing is read from"
			       : "copied to free space",
		 qcow2_claim_where(&claim, where, sizeof(where)), guest);
}

static int begin_step(struct telling *t, const struct q2_party *party)
{
	const struct qcow2_claim claim = claim_of(party);
	struct qcow2_repair_step *step = &t->step;
	int foreign = party->unread ? 0 : is_foreign(t->owners, party);

	if (foreign < 0)
		return -1;
	*step = (struct qcow2_repair_step){
		.kind = qcow2_problem_kind_get(party->id),
		.count = 1,
		.does = t->does,
		.has_guest = party->guest.length_bytes > 0,
		.guest_byte = party->guest.byte,
		.guest_length_bytes = party->guest.length_bytes,
		.guest_of = party->part_of,
		.guest_of_index = party->part_of_index,
		.before = foreign ? QCOW2_READS_FOREIGN : QCOW2_READS_SAME,
		.after = foreign ? QCOW2_READS_FOREIGN : QCOW2_READS_SAME,
	};
	qcow2_claim_where(&claim, step->where, sizeof(step->where));
	say(t, party);
	t->party = party;
	t->keeper = party->keeper;
	if (party->part_of != QCOW2_PART_OF_SNAPSHOT)
		return 0;
	return q2_metadata_snapshot_name(&t->owners->metadata, party->part_of_index,
					 step->guest_of_name, sizeof(step->guest_of_name));
}

static bool is_same_keeper(const struct q2_parting *owners, size_t a, size_t b)
{
	const struct q2_party *left, *right;

	if (a == SIZE_MAX || b == SIZE_MAX)
		return a == b;
	left = &owners->list[a];
	right = &owners->list[b];
	return left->part == right->part && left->part_of == right->part_of &&
	       left->part_of_index == right->part_of_index && left->index == right->index &&
	       left->entry == right->entry;
}

/* Whether a party goes on where the step ends, for the same reason and on the same disk. */
static bool joins(const struct telling *t, const struct q2_party *party)
{
	const struct q2_party *last = t->party;

	return last && last->id == party->id && last->part_of == party->part_of &&
	       last->part_of_index == party->part_of_index && last->unread == party->unread &&
	       t->step.has_guest && party->guest.length_bytes > 0 &&
	       t->step.guest_byte + t->step.guest_length_bytes == party->guest.byte &&
	       is_same_keeper(t->owners, t->keeper, party->keeper);
}

static int end_step(struct telling *t)
{
	return t->party ? q2_repair_tell(t->owners->repair, &t->step) : 0;
}

int q2_parting_tell(struct q2_parting *owners, const struct q2_party_entry *entries, size_t count)
{
	struct telling t = {.owners = owners};

	for (size_t i = 0; i < count; i++) {
		const struct q2_party *party = entries[i].owner;

		if (joins(&t, party)) {
			t.step.count++;
			t.step.guest_length_bytes += party->guest.length_bytes;
			t.party = party;
		} else if (end_step(&t) || begin_step(&t, party)) {
			return -1;
		}
	}
	return end_step(&t);
}

int q2_parting_tell_one(struct q2_parting *owners, const struct q2_party *party)
{
	const struct q2_party_entry entry = {.owner = party};

	return q2_parting_tell(owners, &entry, 1);
}
