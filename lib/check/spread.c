/* SPDX-License-Identifier: MIT */
/*
 * Spreads damage over the virtual disks: goes through the L1 table of each disk, and says of each
 * damaged range of the disk the worst that was found of it. Nothing is kept but the range at hand.
 */
#include <stdio.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/utf8.h"
#include "check/stages.h"

/*
 * What the work on all disks may come to, in L1 entries and pieces of L2 tables: snapshots may share
 * tables, so that it does not depend on the size of the file alone.
 */
#define STEPS_MOST (UINT64_C(1) << 25)

struct spreading {
	struct q2_check *check;
	uint64_t steps_left;
	size_t part; /* in check->damage.disks: those before are of other disks */
};

/* The disk that is gone through. */
struct disk {
	struct spreading *all;
	struct qcow2_damage_total total;
	uint64_t number; /* 0 is the active one */
	uint64_t size_bytes;
	uint64_t l1_offset_bytes, l1_entries;
	size_t part, part_end; /* its own parts */
	enum qcow2_damage least;
	uint64_t at_bytes;               /* everything before it has been put */
	struct qcow2_damage_range range; /* not told yet; its damage may be NONE */
	uint64_t l1_index;               /* whose L2 table is put */
};

static void tell(struct disk *disk)
{
	struct q2_check *check = disk->all->check;
	const struct qcow2_check_options *options = check->options;
	struct qcow2_damage_range *range = &disk->range;

	if (range->damage == QCOW2_DAMAGE_NONE)
		return;
	disk->total.ranges++;
	switch (range->damage) {
	case QCOW2_DAMAGE_LOST:
		disk->total.lost_bytes += range->guest_length_bytes;
		break;
	case QCOW2_DAMAGE_UNREADABLE:
		disk->total.unreadable_bytes += range->guest_length_bytes;
		break;
	case QCOW2_DAMAGE_AT_RISK:
		disk->total.at_risk_bytes += range->guest_length_bytes;
		break;
	case QCOW2_DAMAGE_NONE:
		break;
	}
	if (options->damage_range && !check->stopped)
		check->stopped = options->damage_range(options->opaque, range) != 0;
	range->damage = QCOW2_DAMAGE_NONE;
}

/* Takes a piece that follows those before. Pieces of one damage that touch make one range. */
static void take(struct disk *disk, uint64_t first, uint64_t end, enum qcow2_damage damage)
{
	struct qcow2_damage_range *range = &disk->range;

	if (range->damage == damage && range->guest_byte + range->guest_length_bytes == first) {
		range->guest_length_bytes += end - first;
		return;
	}
	tell(disk);
	range->damage = damage;
	range->guest_byte = first;
	range->guest_length_bytes = end - first;
}

/* Puts the bytes up to end, to which L1 and L2 entries do that damage, and parts maybe more. */
static void put_until(struct disk *disk, uint64_t end, enum qcow2_damage damage)
{
	const struct q2_disk_range *parts = disk->all->check->damage.disks.items;

	if (end > disk->size_bytes)
		end = disk->size_bytes;
	while (disk->at_bytes < end) {
		uint64_t from = disk->at_bytes, until = end;
		enum qcow2_damage worst = damage > disk->least ? damage : disk->least;

		for (size_t i = disk->part; i < disk->part_end; i++) {
			if (parts[i].first > from && parts[i].first < until)
				until = parts[i].first;
			if (parts[i].first > from || parts[i].end <= from)
				continue;
			if (parts[i].end < until)
				until = parts[i].end;
			if (parts[i].damage > worst)
				worst = parts[i].damage;
		}
		take(disk, from, until, worst);
		disk->at_bytes = until;
	}
}

/* The byte that follows guest clusters of an L2 table, or UINT64_MAX. */
static uint64_t guest_byte(const struct disk *disk, uint64_t entry)
{
	const struct qcow2_geometry *geometry = disk->all->check->geometry;
	uint64_t cluster, byte;

	if (q2_mul_u64(disk->l1_index, geometry->l2_entries, &cluster) ||
	    q2_add_u64(cluster, entry, &cluster) ||
	    q2_mul_u64(cluster, geometry->cluster_size_bytes, &byte))
		return UINT64_MAX;
	return byte;
}

/* Each piece is a step: many disks may map a table that has many of them. */
static bool put_entries(void *opaque, uint64_t first, uint64_t end, enum qcow2_damage damage)
{
	struct disk *disk = opaque;

	if (disk->all->steps_left == 0)
		return false;
	disk->all->steps_left--;
	put_until(disk, guest_byte(disk, first), QCOW2_DAMAGE_NONE);
	put_until(disk, guest_byte(disk, end), damage);
	return disk->at_bytes < disk->size_bytes;
}

/* Learns what the faults of an L1 entry do. */
static bool hear_fault(void *opaque, enum qcow2_problem_id id)
{
	enum qcow2_damage *worst = opaque, damage = qcow2_problem_kind_get(id)->damage;

	if (damage > *worst)
		*worst = damage;
	return false;
}

static enum qcow2_damage judge_entry(const struct q2_check *check, uint64_t entry)
{
	enum qcow2_damage worst = QCOW2_DAMAGE_NONE;
	const struct q2_reporter silent = {.opaque = &worst, .wanted = hear_fault};
	const struct q2_entry_place place = {.owner = ""};

	if (check->damage.l1_entries)
		q2_rules_l1_entry(check->geometry, &place, entry, &silent);
	return worst;
}

/* The number of the L2 table at an offset; false if there is none. */
static bool find_table(const struct q2_metadata *metadata, uint64_t offset_bytes, uint32_t *table)
{
	*table = (uint32_t)q2_metadata_find_table(metadata, offset_bytes);
	return *table < metadata->table_count &&
	       metadata->tables[*table].offset_bytes == offset_bytes;
}

/* An L1 entry that is not 0. */
static int visit_entry(void *opaque, uint64_t at, uint64_t entry)
{
	struct disk *disk = opaque;
	const struct q2_check *check = disk->all->check;
	struct q2_table_pieces pieces = {.entries = check->geometry->l2_entries,
					 .least = judge_entry(check, entry),
					 .put = put_entries,
					 .opaque = disk};

	if (disk->all->steps_left == 0)
		return 0;
	disk->all->steps_left--;
	disk->l1_index = (at - disk->l1_offset_bytes) / 8;
	if (find_table(&check->metadata, entry & QCOW2_ENTRY_MASK(l1_entry, offset), &pieces.table))
		q2_ranges_pieces(&check->damage.tables, &pieces);
	else if (pieces.least != QCOW2_DAMAGE_NONE)
		put_entries(disk, 0, pieces.entries, pieces.least);
	return 0;
}

static int count_piece(void *opaque, uint64_t at, const uint8_t *bytes, size_t size)
{
	struct disk *disk = opaque;

	(void)at;
	(void)bytes;
	/* Zeros are passed quickly, but not for nothing. */
	disk->all->steps_left -=
		size / 512 < disk->all->steps_left ? size / 512 : disk->all->steps_left;
	return 0;
}

static int go_on(void *opaque)
{
	const struct disk *disk = opaque;

	return q2_check_progress(disk->all->check);
}

/* Where the L1 table ends, as far as the file has it and the disk needs it. */
static uint64_t l1_end(const struct disk *disk)
{
	const struct qcow2_geometry *geometry = disk->all->check->geometry;
	uint64_t per_table = geometry->l2_entries << geometry->cluster_bits;
	uint64_t entries = q2_div_ceil_u64(disk->size_bytes, per_table);
	uint64_t stored = (geometry->file_size_bytes - disk->l1_offset_bytes) / 8;

	if (entries > disk->l1_entries)
		entries = disk->l1_entries;
	return disk->l1_offset_bytes + (entries < stored ? entries : stored) * 8;
}

/* Goes through the L1 table. Once the work is too much, the rest of the disk counts as damaged. */
static int visit_l1(struct disk *disk)
{
	struct q2_check *check = disk->all->check;
	const struct q2_listener listener = {
		.opaque = disk, .table_bytes = count_piece, .go_on = go_on};

	if ((check->damage.tables.count == 0 && !check->damage.l1_entries) ||
	    disk->l1_offset_bytes >= check->geometry->file_size_bytes)
		return 0;
	if (disk->all->steps_left > 0 &&
	    q2_metadata_read_words(&check->metadata, &listener,
				   &(struct q2_words){.start = disk->l1_offset_bytes,
						      .end = l1_end(disk),
						      .word = visit_entry,
						      .opaque = disk}))
		return -1;
	if (disk->all->steps_left == 0) {
		check->damage.inexact = true;
		put_until(disk, UINT64_MAX,
			  check->damage.l1_entries ? QCOW2_DAMAGE_LOST
						   : check->damage.tables.worst);
	}
	return 0;
}

static bool keep_total(struct q2_check *check, const struct qcow2_damage_total *total)
{
	struct q2_check_totals *totals = check->totals;

	if (totals->damage_count == totals->damage_capacity &&
	    !q2_memory_grow(&check->damage.memory, (void **)&totals->damages,
			    &totals->damage_capacity, sizeof(*totals->damages)))
		return false;
	totals->damages[totals->damage_count++] = *total;
	return true;
}

/* Spreads what concerns one disk. Disks come in their order. */
static int spread_disk(struct spreading *all, struct disk *disk)
{
	struct q2_check *check = all->check;
	const struct q2_disk_ranges *parts = &check->damage.disks;

	disk->all = all;
	disk->least = check->damage.everywhere;
	if (disk->number > 0 && check->damage.snapshots > disk->least)
		disk->least = check->damage.snapshots;
	while (all->part < parts->count && parts->items[all->part].disk < disk->number)
		all->part++;
	disk->part = all->part;
	while (all->part < parts->count && parts->items[all->part].disk == disk->number)
		all->part++;
	disk->part_end = all->part;
	disk->range = (struct qcow2_damage_range){.size = sizeof(disk->range),
						  .of = disk->total.of,
						  .of_index = disk->total.of_index};
	snprintf(disk->range.of_name, sizeof(disk->range.of_name), "%s", disk->total.of_name);
	disk->total.size = sizeof(disk->total);
	if (check->result->clusters_checked && visit_l1(disk))
		return -1;
	put_until(disk, UINT64_MAX, QCOW2_DAMAGE_NONE);
	tell(disk);
	check->result->damage_ranges += disk->total.ranges;
	if ((disk->number == 0 || disk->total.ranges > 0) && !keep_total(check, &disk->total))
		return q2_memory_fail(&check->damage.memory, check->err);
	return check->stopped ? q2_check_fail_stopped(check) : 0;
}

static int spread_snapshots(struct spreading *all)
{
	struct q2_check *check = all->check;
	uint64_t left = qcow2_source_allocated_bytes(qcow2_image_source(check->image)) + (1 << 20);
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	int more = 0;

	if (qcow2_snapshots_open(check->image, &snapshots, check->err))
		return q2_is_fault(check->err) ? -1 : 0;
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, check->err)) > 0) {
		struct disk disk = {
			.total = {.of = QCOW2_PART_OF_SNAPSHOT, .of_index = snapshot->index},
			.number = snapshot->index + 1,
			.size_bytes = snapshot->disk_size_bytes,
			.l1_offset_bytes = snapshot->header.l1_table_offset,
			.l1_entries = snapshot->header.l1_size};

		if (snapshot->size_bytes > left) {
			check->damage.inexact = true;
			break;
		}
		left -= snapshot->size_bytes;
		q2_text_escape_start(snapshot->name, disk.total.of_name,
				     sizeof(disk.total.of_name));
		more = spread_disk(all, &disk);
		if (more < 0)
			break;
	}
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : 0;
}

static bool is_any(const struct q2_damage *damage)
{
	return damage->everywhere != QCOW2_DAMAGE_NONE || damage->snapshots != QCOW2_DAMAGE_NONE ||
	       damage->l1_entries || damage->tables.count > 0 || damage->disks.count > 0;
}

int q2_damage_spread(struct q2_check *check)
{
	struct spreading all = {.check = check, .steps_left = STEPS_MOST};
	struct qcow2_check_result *result = check->result;
	struct disk active = {
		/* Without a geometry, no table can be found, but the size is known. */
		.size_bytes =
			check->geometry ? check->geometry->virtual_size_bytes : check->header->size,
		.l1_offset_bytes = check->header->l1_table_offset,
		.l1_entries = check->header->l1_size,
	};

	result->has_damage = true;
	if (spread_disk(&all, &active) ||
	    (result->clusters_checked && is_any(&check->damage) && spread_snapshots(&all)))
		return -1;
	result->damage_exact = !check->damage.inexact;
	result->lost_bytes = active.total.lost_bytes;
	result->unreadable_bytes = active.total.unreadable_bytes;
	result->at_risk_bytes = active.total.at_risk_bytes;
	return 0;
}
