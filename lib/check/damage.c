/* SPDX-License-Identifier: MIT */
/* Hears of problems, and finds whose the clusters are that have some. See damage.h. */
#include "check/damage.h"

#include "check/stages.h"
#include "format/l2_table.h"

/* The part of the memory limit that the sum of damage may use. */
#define SHARE 8

void q2_damage_start(struct q2_check *check)
{
	struct q2_damage *damage = &check->damage;

	damage->wanted = check->options->damage;
	if (!damage->wanted)
		return;
	damage->memory.limit_bytes = check->memory.limit_bytes / SHARE;
	damage->memory.of = &check->memory;
	damage->memory.user = check->memory.user;
	damage->tables.memory = &damage->memory;
	damage->disks.memory = &damage->memory;
	damage->bad.memory = &damage->memory;
}

void q2_damage_release(struct q2_check *check)
{
	struct q2_damage *damage = &check->damage;

	if (!damage->wanted)
		return;
	q2_ranges_release(&damage->tables);
	q2_disk_ranges_release(&damage->disks);
	q2_bits_release(&damage->bad);
	for (unsigned i = 0; check->workers && i < check->threads; i++)
		q2_bits_release(&check->workers[i].damaged);
}

static enum qcow2_damage damage_of(enum qcow2_problem_id id)
{
	return qcow2_problem_kind_get(id)->damage;
}

static void raise(enum qcow2_damage *to, enum qcow2_damage damage)
{
	if (damage > *to)
		*to = damage;
}

bool q2_damage_hear_kind(struct q2_check *check, enum qcow2_problem_id id)
{
	struct q2_damage *damage = &check->damage;

	if (!damage->wanted || damage_of(id) == QCOW2_DAMAGE_NONE)
		return false;
	switch (damage->at.judged) {
	case Q2_JUDGED_L1_ENTRY:
		damage->l1_entries = true;
		return false;
	case Q2_JUDGED_L2_ENTRY:
		q2_ranges_add(&damage->tables,
			      (struct q2_table_range){.table = (uint32_t)damage->at.index,
						      .first = damage->at.entry,
						      .count = 1,
						      .damage = damage_of(id)});
		return false;
	case Q2_JUDGED_OTHER:
	case Q2_JUDGED_SNAPSHOT:
		break;
	}
	return true;
}

/* Adds a part of a disk; if it does not fit, all of every disk counts as that part. */
static void add_part(struct q2_damage *damage, struct q2_disk_range part)
{
	if (part.end > part.first && !q2_disk_ranges_add(&damage->disks, part)) {
		raise(&damage->everywhere, part.damage);
		damage->inexact = true;
	}
}

/* Whether a problem concerns the whole active disk, or says nothing of a part. */
static bool concerns_all(const struct q2_check *check, const struct qcow2_problem *problem)
{
	return !problem->has_guest ||
	       (problem->guest_byte == 0 && check->geometry &&
		problem->guest_length_bytes >= check->geometry->virtual_size_bytes);
}

/*
 * A problem that names no part of a disk concerns all of it: that of the snapshot whose entry is
 * judged, the active one if its L1 table is at fault, and every disk if all hang on it, as on keys.
 * Snapshots that cannot be found have no disks that anybody could name. What blocks of
 * refcounts that cannot be found do to clusters, each cluster says itself.
 */
void q2_damage_hear(struct q2_check *check, const struct qcow2_problem *problem)
{
	struct q2_damage *damage = &check->damage;
	struct q2_disk_range part = {.end = UINT64_MAX, .damage = problem->kind->damage};
	bool of_snapshot = damage->at.judged == Q2_JUDGED_SNAPSHOT;

	if (!damage->wanted || part.damage == QCOW2_DAMAGE_NONE ||
	    damage->at.judged == Q2_JUDGED_L1_ENTRY || damage->at.judged == Q2_JUDGED_L2_ENTRY)
		return;
	if (problem->has_guest) {
		part.first = problem->guest_byte;
		part.end = problem->guest_byte + problem->guest_length_bytes;
	}
	if (of_snapshot)
		part.disk = damage->at.index + 1;
	switch (problem->kind->number) {
	case QCOW2_PROBLEM_SNAPSHOTS_OFFSET:
	case QCOW2_PROBLEM_REFBLOCK_UNALIGNED:
	case QCOW2_PROBLEM_REFBLOCK_BEYOND_END:
		return;
	case QCOW2_PROBLEM_SNAPSHOTS_BEYOND_END:
		if (of_snapshot)
			add_part(damage, part);
		return;
	case QCOW2_PROBLEM_FEATURE_DATA_FILE_SNAPSHOTS:
		raise(&damage->snapshots, part.damage);
		return;
	case QCOW2_PROBLEM_L1_OFFSET_UNALIGNED:
	case QCOW2_PROBLEM_L1_BEYOND_END:
	case QCOW2_PROBLEM_L1_TOO_SMALL:
		add_part(damage, part);
		return;
	default:
		if (!of_snapshot && concerns_all(check, problem))
			raise(&damage->everywhere, part.damage);
		else
			add_part(damage, part);
	}
}

void q2_damage_hear_clusters(const struct q2_check *check, struct q2_worker *worker,
			     enum qcow2_problem_id id, uint64_t cluster, uint64_t bits)
{
	/* Clusters from bad_from on are judged again, and have been heard of. */
	if (!check->damage.wanted || check->bad_from > 0 || damage_of(id) == QCOW2_DAMAGE_NONE)
		return;
	raise(&worker->worst_damage, damage_of(id));
	q2_bits_add_word(&worker->damaged, cluster, bits);
}

void q2_damage_join_workers(struct q2_check *check)
{
	struct q2_damage *damage = &check->damage;

	for (unsigned i = 0; damage->wanted && i < check->threads; i++) {
		struct q2_worker *worker = &check->workers[i];

		raise(&damage->bad_damage, worker->worst_damage);
		q2_bits_join(&damage->bad, &worker->damaged);
		q2_bits_release(&worker->damaged);
		if (worker->beyond_highest > damage->beyond_end)
			damage->beyond_end = worker->beyond_highest;
	}
	damage->beyond_count = check->workers[0].beyond_end;
}

/* The walk that finds out what the clusters with problems hold. */
struct owning {
	struct q2_check *check;
	size_t table; /* that is told: it only rises */
	/* 64 clusters that were looked up last: entries side by side mostly lead there. */
	uint64_t group, bad;
};

static bool has_bad(const struct q2_check *check, const struct qcow2_claim *claim)
{
	const unsigned bits = check->geometry->cluster_bits;
	uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);
	uint64_t first = claim->offset_bytes >> bits, length;

	if (claim->length_bytes == 0)
		return false;
	if (last < claim->offset_bytes)
		last = UINT64_MAX;
	if (last >> bits == first)
		return q2_bits_has(&check->damage.bad, first);
	return q2_bits_run(&check->damage.bad, (last >> bits) + 1, &first, &length);
}

/* The number of a table. Tables are told in their order. */
static uint32_t table_of(struct owning *owning, const struct qcow2_claim *claim)
{
	const struct q2_metadata *metadata = &owning->check->metadata;
	uint64_t list = q2_claim_list(claim);

	while (owning->table + 1 < metadata->table_count &&
	       (metadata->tables[owning->table].list != list ||
		metadata->tables[owning->table].index != claim->index))
		owning->table++;
	return (uint32_t)owning->table;
}

static void add_entries(struct q2_check *check, size_t table, uint64_t first, uint64_t end)
{
	if (end > first)
		q2_ranges_add(&check->damage.tables,
			      (struct q2_table_range){.table = (uint32_t)table,
						      .first = (uint32_t)first,
						      .count = (uint32_t)(end - first),
						      .damage = check->damage.bad_damage});
}

/* Whether an L2 entry that is not 0 leads to a cluster with a problem. */
static bool leads_to_bad(struct owning *owning, const struct q2_l2_ref *ref, uint64_t entry)
{
	const struct q2_check *check = owning->check;
	const struct qcow2_geometry *geometry = check->geometry;
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l2_entry, offset);
	uint64_t cluster = offset >> geometry->cluster_bits;
	struct qcow2_claim claim;

	if (qcow2_l2_is_compressed(entry) || (offset & (geometry->cluster_size_bytes - 1)) != 0)
		return q2_l2_claim(geometry, ref, entry, &claim) && has_bad(check, &claim);
	if (offset == 0)
		return false;
	if (owning->group != cluster / 64) {
		owning->group = cluster / 64;
		owning->bad = q2_bits_word(&check->damage.bad, cluster - cluster % 64);
	}
	return owning->bad >> (cluster % 64) & 1;
}

/* Damage to entries side by side is noted at once. */
static void find_in_table(struct owning *owning, size_t table, const uint8_t *bytes, uint64_t size)
{
	struct q2_check *check = owning->check;
	const struct q2_l2_ref *ref = &check->metadata.tables[table];
	unsigned width = check->geometry->l2_entry_bytes;
	uint64_t first = 0, end = 0;

	for (uint64_t i = 0; (i + 1) * width <= size; i++) {
		uint64_t entry = q2_l2_entry_at(bytes, i, width);

		if (entry == 0 || !leads_to_bad(owning, ref, entry))
			continue;
		if (i != end) {
			add_entries(check, table, first, end);
			first = i;
		}
		end = i + 1;
	}
	add_entries(check, table, first, end);
}

/* Data may be most of what an image uses, so its tables are gone through without claims. */
static int find_data(struct owning *owning)
{
	struct q2_check *check = owning->check;
	struct q2_metadata *metadata = &check->metadata;
	uint64_t size;

	for (size_t i = 0; i < metadata->table_count && !check->geometry->data_file; i++) {
		const struct q2_l2_ref *ref = &metadata->tables[i];

		if (!q2_metadata_l2_is_hole(metadata, ref)) {
			if (q2_metadata_read_l2(metadata, ref->offset_bytes, &size))
				return -1;
			find_in_table(owning, i, metadata->buffer, size);
		}
		if (q2_check_progress(check))
			return -1;
	}
	return 0;
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	struct owning *owning = opaque;
	struct q2_damage *damage = &owning->check->damage;

	if (!has_bad(owning->check, claim))
		return 0;
	switch (claim->part) {
	case QCOW2_CLAIM_L2_TABLE:
		add_entries(owning->check, table_of(owning, claim), 0,
			    owning->check->geometry->l2_entries);
		break;
	case QCOW2_CLAIM_L1_TABLE:
		add_part(damage,
			 (struct q2_disk_range){.disk = claim->part_of == QCOW2_PART_OF_SNAPSHOT
								? claim->part_of_index + 1
								: 0,
						.end = UINT64_MAX,
						.damage = damage->bad_damage});
		break;
	case QCOW2_CLAIM_LUKS:
		raise(&damage->everywhere, damage->bad_damage);
		break;
	case QCOW2_CLAIM_HEADER:
	case QCOW2_CLAIM_REFCOUNT_TABLE:
	case QCOW2_CLAIM_REFCOUNT_BLOCK:
	case QCOW2_CLAIM_SNAPSHOT_TABLE:
	case QCOW2_CLAIM_BITMAP_DIRECTORY:
	case QCOW2_CLAIM_BITMAP_TABLE:
	case QCOW2_CLAIM_BITMAP_DATA:
	case QCOW2_CLAIM_DATA: /* comes with its table */
		break;         /* without them, the guest's data is still where it was */
	}
	return 0;
}

static int go_on(void *opaque)
{
	const struct owning *owning = opaque;

	return q2_check_progress(owning->check);
}

/* Finds what uses the clusters with problems. */
static int find_owners(struct q2_check *check)
{
	struct owning owning = {.check = check, .group = UINT64_MAX};
	const struct q2_listener listener = {
		.opaque = &owning, .claim = hear_claim, .go_on = go_on};

	if (q2_metadata_visit_structures(&check->metadata, &listener) ||
	    q2_metadata_claim_l2_tables(&check->metadata, &listener))
		return -1;
	return find_data(&owning);
}

int q2_check_damage(struct q2_check *check)
{
	struct q2_damage *damage = &check->damage;

	if (!damage->wanted)
		return 0;
	if (damage->bad.failed) {
		raise(&damage->everywhere, damage->bad_damage);
		damage->inexact = true;
	} else if (damage->bad.count > 0 && find_owners(check)) {
		return -1;
	}
	q2_bits_release(&damage->bad);
	if (damage->tables.failed)
		raise(&damage->everywhere, damage->tables.worst);
	damage->inexact |= damage->tables.failed || damage->tables.coarse;
	q2_ranges_settle(&damage->tables);
	q2_disk_ranges_settle(&damage->disks);
	if (check->result->clusters_checked)
		q2_missing_sum_up(check);
	return q2_damage_spread(check);
}
