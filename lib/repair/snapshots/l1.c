/* SPDX-License-Identifier: MIT */
/*
 * Where the L1 tables of snapshots are, and how long. A table that is cut or too short is written
 * whole in free space: entries that are not in the file are 0, which is how programs read them.
 */
#include "repair/snapshots/snapshots.h"

#include <inttypes.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "image/guest.h"
#include "image/internal.h"
#include "repair/snapshots/evidence.h"
#include "rules/rules.h"

/* Bytes of L1 tables that a round writes at most: hostile tables claim far more than files hold. */
#define NEW_L1_MOST (UINT64_C(256) << 20)

/* What becomes of an L1 table. */
struct l1_plan {
	uint64_t entries; /* that it will have */
	uint64_t from;    /* host offset of the entries that there are; 0: none */
	uint64_t there;   /* how many there are */
	bool moves;
};

/* What a part of a disk reads that no table maps. */
static enum qcow2_reads unmapped(const struct q2_repair *repair)
{
	return repair->header->backing_file_offset != 0 ? QCOW2_READS_BACKING : QCOW2_READS_ZEROS;
}

/* How many of the entries at an offset are in the file. */
static uint64_t entries_there(const struct q2_repair *repair, uint64_t offset, uint64_t entries)
{
	uint64_t size = repair->geometry->file_size_bytes;
	uint64_t there = offset < size ? q2_div_ceil_u64(size - offset, 8) : 0;

	return there < entries ? there : entries;
}

static int tell(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
		struct q2_snapshot_step step, struct q2_guest_range range, const char *does)
{
	step.guest_byte = range.byte;
	step.guest_length_bytes = range.length_bytes;
	return q2_snapshot_tell(repair, entry, &step, "%s", does);
}

/* ---- what is wrong, one after the other; each changes the entry and what is planned ---- */

/* Entries that map all of the disk, without what programs keep behind it. */
static uint64_t entries_of_disk(const struct q2_repair *repair, uint64_t disk)
{
	return q2_div_ceil_u64(q2_div_ceil_u64(disk, repair->geometry->cluster_size_bytes),
			       repair->geometry->l2_entries);
}

/* The entries of a table that is lost: a number that no program reads is as lost as the table. */
static uint64_t entries_of_lost(const struct q2_repair *repair, uint64_t disk, uint64_t claimed)
{
	uint64_t entries = entries_of_disk(repair, disk);

	if (claimed <= QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return claimed;
	return entries <= QCOW2_LIMIT_QEMU_L1_ENTRIES
		       ? entries
		       : entries_of_disk(repair, repair->header->size);
}

/* An offset inside a cluster, which QEMU refuses to read, or that of the header. */
static int mend_offset(struct q2_repair *repair, struct q2_snapshot_entry *entry,
		       struct l1_plan *plan)
{
	uint64_t old = entry->header.l1_table_offset, found, disk;
	const enum qcow2_problem_id id =
		old == 0 ? QCOW2_PROBLEM_CLUSTER_OWNERS : QCOW2_PROBLEM_SNAPSHOT_L1_OFFSET;
	struct q2_snapshot_step step = {.id = id,
					.field = "l1_table_offset",
					.before =
						old == 0 ? QCOW2_READS_FOREIGN : QCOW2_READS_ERROR,
					.after = QCOW2_READS_DATA};
	struct q2_guest_range range;

	if (old == 0 ? plan->entries == 0 : old % repair->geometry->cluster_size_bytes == 0)
		return 0;
	q2_snapshot_disk_size(repair, entry, &disk);
	range = q2_guest_l1(repair->geometry, disk, 0, plan->entries);
	if (q2_snapshot_find_l1(repair, entry, plan->entries, &found))
		return -1;
	if (found != 0 && q2_repair_may(repair, id, false)) {
		entry->header.l1_table_offset = plan->from = found;
		plan->there = entries_there(repair, found, plan->entries);
		return tell(repair, entry, step, range,
			    "gets its L1 table back, to which nothing leads any more");
	}
	if (found != 0 || !q2_repair_may(repair, id, true)) {
		q2_repair_leave(
			repair, id,
			"nothing proves where the snapshot's L1 table is: the snapshot can be "
			"made empty, or dropped");
		repair->why[id].wants_drop = true;
		repair->is_header_claimed |= old == 0;
		return 0;
	}
	plan->there = 0;
	plan->entries = entries_of_lost(repair, disk, plan->entries);
	plan->moves = true;
	step.costs = true;
	step.after = unmapped(repair);
	return tell(repair, entry, step, range,
		    "gets an empty L1 table: where its own is, nothing tells");
}

/* More entries than QEMU reads, and than the disk needs. */
static int mend_too_large(struct q2_repair *repair, struct q2_snapshot_entry *entry,
			  struct l1_plan *plan)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_L1_TOO_LARGE;
	uint64_t needed = q2_snapshot_l1_needed(repair, entry), disk;
	bool costs = !q2_snapshot_disk_size(repair, entry, &disk);

	if (plan->entries <= QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return 0;
	if (needed > QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		q2_repair_leave(repair, id, "its disk needs so many entries: only QEMU minds");
		return 0;
	}
	if (!q2_repair_may(repair, id, costs)) {
		q2_repair_leave(repair, id,
				"the snapshot does not say how large its disk was, so that "
				"nobody knows how many entries it needs");
		return 0;
	}
	plan->entries = needed;
	entry->header.l1_size = (uint32_t)needed;
	plan->there = entries_there(repair, plan->from, needed);
	return q2_snapshot_tell(
		repair, entry,
		&(struct q2_snapshot_step){.id = id, .field = "l1_size", .costs = costs},
		"has %" PRIu64 " L1 entries, as many as its disk and its saved state need", needed);
}

/*
 * More entries than the disk needs, where something else is: only the count can be wrong. Nothing
 * ever reads those entries.
 */
static int mend_overlong(struct q2_repair *repair, struct q2_snapshot_entry *entry,
			 struct l1_plan *plan)
{
	uint64_t needed = q2_snapshot_l1_needed(repair, entry), disk;
	enum qcow2_problem_id id = QCOW2_PROBLEM_CLUSTER_OWNERS;
	bool is;

	if (!q2_snapshot_disk_size(repair, entry, &disk) || needed == 0 || plan->entries <= needed)
		return 0;
	if (q2_snapshot_is_overlong(repair, entry, needed, &is))
		return -1;
	if (q2_passes_end(repair->geometry, plan->from, plan->entries * 8))
		id = QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END;
	if (!is || !q2_repair_may(repair, id, false))
		return 0;
	plan->entries = needed;
	entry->header.l1_size = (uint32_t)needed;
	plan->there = entries_there(repair, plan->from, needed);
	return q2_snapshot_tell(
		repair, entry, &(struct q2_snapshot_step){.id = id, .field = "l1_size"},
		"has %" PRIu64 " L1 entries, as many as its disk and its saved state need", needed);
}

/* A disk larger than any table could map: its size is what is wrong. */
static int mend_disk_size(struct q2_repair *repair, struct q2_snapshot_entry *entry,
			  const struct l1_plan *plan)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL;
	uint64_t size = repair->header->size, reach, old;
	struct qcow2_snapshot_extra extra;
	uint64_t per_entry = (uint64_t)repair->geometry->l2_entries
			     << repair->geometry->cluster_bits;

	q2_snapshot_disk_size(repair, entry, &old);
	reach = plan->entries * per_entry;
	if (reach < size)
		size = reach;
	if (!q2_repair_may(repair, id, true)) {
		q2_repair_leave(repair, id,
				"no L1 table can map a disk of the size that the snapshot claims: "
				"its real size can only be guessed");
		return 0;
	}
	if (entry->extra.size > sizeof(entry->own_extra))
		entry->extra.size = sizeof(entry->own_extra);
	qcow2_snapshot_extra_decode(&extra, entry->extra.data, entry->extra.size);
	extra.disk_size = size;
	qcow2_snapshot_extra_encode(&extra, entry->own_extra, sizeof(entry->own_extra));
	entry->extra.data = entry->own_extra;
	entry->extra.data = entry->own_extra;
	return q2_snapshot_tell(repair, entry,
				&(struct q2_snapshot_step){.id = id,
							   .field = "disk_size",
							   .costs = true,
							   .guest_byte = size,
							   .guest_length_bytes = old - size,
							   .before = unmapped(repair),
							   .after = QCOW2_READS_ERROR},
				"has a disk of %" PRIu64 " bytes: more its L1 table cannot map",
				size);
}

/* Entries that the file has not, or that the table has not. */
static int mend_short(struct q2_repair *repair, struct q2_snapshot_entry *entry,
		      struct l1_plan *plan)
{
	uint64_t needed = q2_snapshot_l1_needed(repair, entry), disk, most = plan->entries;
	bool has_size = q2_snapshot_disk_size(repair, entry, &disk);
	struct q2_snapshot_step step = {.id = QCOW2_PROBLEM_SNAPSHOT_L1_TOO_SMALL,
					.field = "l1_size",
					.before = unmapped(repair),
					.after = unmapped(repair)};

	if (!has_size || plan->entries >= entries_of_disk(repair, disk))
		return 0;
	if (needed > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return mend_disk_size(repair, entry, plan);
	if (!q2_repair_may(repair, step.id, false))
		return 0;
	if (q2_snapshot_count_hidden(repair, plan->from, plan->entries, needed, &most))
		return -1;
	if (most > plan->entries)
		step.after = QCOW2_READS_DATA;
	plan->there = entries_there(repair, plan->from, most);
	plan->moves = true;
	if (tell(repair, entry, step,
		 q2_guest_l1(repair->geometry, disk, plan->entries, needed - plan->entries),
		 most > plan->entries
			 ? "gets entries back that lie behind its L1 table and lead to its tables"
			 : "gets a longer L1 table, whose new entries map nothing"))
		return -1;
	plan->entries = needed;
	return 0;
}

/* A table that passes the end of the file: programs read zeros there. */
static int mend_cut(struct q2_repair *repair, const struct q2_snapshot_entry *entry,
		    struct l1_plan *plan)
{
	const enum qcow2_problem_id id = QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END;
	uint64_t disk;
	bool readable = entry->header.l1_size <= QCOW2_LIMIT_QEMU_L1_ENTRIES;

	if (plan->moves || plan->entries == 0 ||
	    !q2_passes_end(repair->geometry, plan->from, plan->entries * 8))
		return 0;
	if (plan->entries > QCOW2_LIMIT_QEMU_L1_ENTRIES) {
		q2_repair_leave(repair, id, "the table has more entries than any program reads");
		repair->why[id].wants_drop = true;
		return 0;
	}
	if (!q2_repair_may(repair, id, !readable))
		return 0;
	q2_snapshot_disk_size(repair, entry, &disk);
	plan->moves = true;
	return tell(repair, entry,
		    (struct q2_snapshot_step){.id = id,
					      .field = "l1_table_offset",
					      .before = unmapped(repair),
					      .after = unmapped(repair)},
		    q2_guest_l1_past_end(repair->geometry, disk, plan->from, plan->entries),
		    plan->there > 0
			    ? "gets a whole L1 table, with the entries that are in the file"
			    : "gets an L1 table that maps nothing: no entry is in the file");
}

/* ---- */

static int write_table(struct q2_repair *repair, struct q2_snapshot_notes *notes,
		       struct q2_snapshot_entry *entry, const struct l1_plan *plan)
{
	uint64_t cluster = repair->geometry->cluster_size_bytes, offset;
	uint64_t size = q2_div_ceil_u64(plan->entries * 8, cluster) * cluster;
	uint8_t *raw;
	int failed;

	if (size > NEW_L1_MOST - notes->new_l1_bytes) {
		q2_repair_leave(repair, QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END,
				"the L1 tables of all snapshots would be too large together");
		repair->why[QCOW2_PROBLEM_SNAPSHOT_L1_BEYOND_END].wants_drop = true;
		return 0;
	}
	notes->new_l1_bytes += size;
	raw = q2_alloc_array((size_t)size, 1);
	if (!raw)
		return q2_fail_memory(repair->err);
	failed = (plan->there > 0 && q2_image_read_padded(repair->image, plan->from, raw,
							  (size_t)plan->there * 8, repair->err)) ||
		 q2_space_take(repair, size / cluster, &offset) ||
		 q2_repair_write(repair, QCOW2_PHASE_NEW, offset,
				 (struct qcow2_bytes){raw, (size_t)size},
				 "a snapshot's L1 table, whole");
	if (!failed) {
		entry->header.l1_table_offset = offset;
		entry->header.l1_size = (uint32_t)plan->entries;
	}
	q2_free(raw);
	return failed ? -1 : 0;
}

static int mend_l1(struct q2_repair *repair, struct q2_snapshot_notes *notes,
		   struct q2_snapshot_entry *entry)
{
	struct l1_plan plan = {.entries = entry->header.l1_size,
			       .from = entry->header.l1_table_offset};
	uint64_t cluster = repair->geometry->cluster_size_bytes;

	plan.there = entries_there(repair, plan.from, plan.entries);
	if (mend_too_large(repair, entry, &plan) || mend_offset(repair, entry, &plan))
		return -1;
	if (!plan.moves && (entry->header.l1_table_offset % cluster != 0 ||
			    (entry->header.l1_table_offset == 0 && plan.entries > 0)))
		return 0; /* it is left */
	if ((!plan.moves && mend_overlong(repair, entry, &plan)) ||
	    mend_short(repair, entry, &plan) || mend_cut(repair, entry, &plan))
		return -1;
	return plan.moves ? write_table(repair, notes, entry, &plan) : 0;
}

int q2_snapshots_mend_l1s(struct q2_repair *repair, struct q2_snapshot_notes *notes)
{
	struct q2_snapshot_table *table = &notes->table;

	for (size_t i = 0; i < table->count; i++)
		if (!table->entries[i].dropped && mend_l1(repair, notes, &table->entries[i]))
			return -1;
	return 0;
}
